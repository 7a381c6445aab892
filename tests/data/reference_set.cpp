#include "tests/data/reference_set.h"

#include <algorithm>
#include <fstream>
#include <sstream>

namespace switchyard::test {

namespace {

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void put_token(std::string& out, uint8_t type, int64_t token) {
  switch (type) {
    case 1:
      return put(out, static_cast<uint8_t>(token));
    case 2:
      return put(out, static_cast<int8_t>(token));
    case 3:
      return put(out, static_cast<int16_t>(token));
    case 4:
      return put(out, static_cast<int32_t>(token));
    case 5:
      return put(out, token);
    case 6:
      return put(out, static_cast<double>(token));
    case 7:
      return put(out, static_cast<float>(token));
    default:
      return put(out, static_cast<uint16_t>(token));
  }
}

}  // namespace

ReferenceSet::ReferenceSet(uint8_t type_code, const std::vector<std::vector<int64_t>>& texts)
    : type(type_code) {
  documents.push_back(0);
  for (const auto& text : texts) {
    offsets.push_back(static_cast<int64_t>(bin.size()));
    lengths.push_back(static_cast<int32_t>(text.size()));
    for (const int64_t token : text) put_token(bin, type, token);
    documents.push_back(static_cast<int64_t>(lengths.size()));
  }
}

std::string ReferenceSet::index() const {
  std::string out = magic;
  put(out, version);
  put(out, type);
  put(out, header_sequences < 0 ? static_cast<int64_t>(lengths.size()) : header_sequences);
  put(out, header_documents < 0 ? static_cast<int64_t>(documents.size()) : header_documents);
  for (const int32_t length : lengths) put(out, length);
  for (const int64_t offset : offsets) put(out, offset);
  for (const int64_t document : documents) put(out, document);
  for (const int8_t mode : modes) put(out, mode);
  return out;
}

void ReferenceSet::write(const std::string& prefix) const {
  write_file(prefix + ".idx", index());
  write_file(prefix + ".bin", bin);
  if (!json.empty()) write_file(prefix + ".json", json);
}

void write_counting_set(const std::string& prefix, int64_t count, int64_t modulus) {
  std::vector<std::vector<int64_t>> texts;
  for (int64_t i = 0; i < count; ++i) {
    if (i % 100 == 0) texts.emplace_back();
    texts.back().push_back(i % modulus);
  }
  ReferenceSet set(8, texts);
  set.json = fmt::format(
      R"({{"tokenizer": "byte", "vocabulary_size": 257, "end_of_document": 256, "text_bytes": {}}})",
      count);
  set.write(prefix);
}

void write_file(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

}  // namespace switchyard::test
