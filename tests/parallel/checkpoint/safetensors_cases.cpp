#include "tests/parallel/checkpoint/safetensors_cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <random>

#include "core/error.h"

namespace switchyard::test {

namespace fs = std::filesystem;

std::string file_with_length(uint64_t length, std::string_view rest) {
  std::string file(sizeof(length), '\0');
  std::memcpy(file.data(), &length, sizeof(length));
  return file.append(rest);
}

std::string file_of(std::string_view header, size_t data_bytes) {
  return file_with_length(header.size(), header).append(data_bytes, 'x');
}

std::string file_of_tensors(const std::vector<std::string>& names) {
  std::string header;
  size_t end = 0;
  for (const std::string& name : names) {
    header += fmt::format(R"({}"{}":{{"dtype":"U8","shape":[4],"data_offsets":[{},{}]}})",
                          end == 0 ? "" : ",", name, end, end + 4);
    end += 4;
  }
  return file_of("{" + header + "}", end);
}

std::string index_of(std::string_view weight_map) {
  return fmt::format(R"({{"metadata": {{"total_size": 8}}, "weight_map": {{{}}}}})", weight_map);
}

void write(const fs::path& file, std::string_view bytes) {
  std::ofstream(file, std::ios::binary) << bytes;
}

std::string refusal(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

void Weights::add(const std::string& name, DType dtype, const Shape& shape) {
  std::minstd_rand random(static_cast<unsigned>(tensors.size() + 1));
  std::string bytes(static_cast<size_t>(shape.elements() * size_of(dtype)), '\0');
  for (char& byte : bytes) byte = static_cast<char>(random() >> 8);
  tensors.push_back({name, dtype, shape});
  contents.push_back(std::move(bytes));
}

void Weights::add_to(SafetensorsWriter& writer, size_t count) const {
  for (size_t i = 0; i < count; ++i) {
    const int64_t rows = tensors[i].shape.rank() == 0 ? 1 : tensors[i].shape[0];
    const auto row_bytes = contents[i].size() / static_cast<size_t>(std::max<int64_t>(1, rows));
    writer.add(tensors[i].name, [&](int64_t first, int64_t number, void* out) {
      std::memcpy(out, contents[i].data() + static_cast<size_t>(first) * row_bytes,
                  static_cast<size_t>(number) * row_bytes);
    });
  }
}

void Weights::write(const fs::path& folder, int64_t max_shard_bytes, int64_t part_bytes) const {
  SafetensorsWriter writer(folder, tensors, max_shard_bytes, part_bytes);
  add_to(writer, tensors.size());
  writer.finish();
}

std::string Weights::difference(const fs::path& folder) const {
  const SafetensorsFolder read(folder);
  if (read.tensors().size() != tensors.size()) return "another number of tensors";
  for (size_t i = 0; i < tensors.size(); ++i) {
    const SafetensorsEntry* entry = read.find(tensors[i].name);
    if (entry == nullptr) return tensors[i].name + " is missing";
    if (weight_dtype(*entry) != tensors[i].dtype) return tensors[i].name + " has another dtype";
    if (shape_text(*entry) != tensors[i].shape.to_string()) {
      return tensors[i].name + " has the shape " + shape_text(*entry);
    }
    const auto aligned = reinterpret_cast<uintptr_t>(read.data(*entry)) %
                         static_cast<uintptr_t>(size_of(tensors[i].dtype));
    if (aligned != 0) return tensors[i].name + " is not aligned";
    const bool same = entry->bytes == static_cast<int64_t>(contents[i].size()) &&
                      std::memcmp(read.data(*entry), contents[i].data(), contents[i].size()) == 0;
    if (!same) return tensors[i].name + " has other bytes";
    read.release(*entry, 0, entry->bytes);
  }
  return "";
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename());
  std::ranges::sort(names);
  return names;
}

}  // namespace switchyard::test
