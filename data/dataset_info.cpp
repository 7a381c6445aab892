#include "data/dataset_info.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>

#include "core/error.h"
#include "core/json.h"

namespace switchyard {

namespace {

Json parse(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  check(file.good(), "data", "{} cannot be opened", path);
  try {
    Json document = parse_json(std::string(std::istreambuf_iterator(file), {}));
    check(document.is_object(), "data", "{} is not a JSON object", path);
    return document;
  } catch (const nlohmann::json::exception& problem) {
    fail("data", "{} is not valid JSON: {}", path, problem.what());
  }
}

int64_t number(const Json& document, const std::string& path, const char* key, int64_t lowest,
               int64_t absent) {
  const auto found = document.find(key);
  if (found == document.end()) return absent;
  const bool whole = found->is_number_unsigned()
                         ? found->get<uint64_t>() <= std::numeric_limits<int64_t>::max()
                         : found->is_number_integer();
  check(whole && found->get<int64_t>() >= lowest, "data",
        "{}: {} is {}; a whole number of at least {} is needed", path, key, json_text(*found),
        lowest);
  return found->get<int64_t>();
}

std::string text(const Json& document, const std::string& path, const char* key) {
  const auto found = document.find(key);
  if (found == document.end()) return "";
  check(found->is_string(), "data", "{}: {} is {}; a string is needed", path, key,
        json_text(*found));
  return found->get<std::string>();
}

void check_range(const DatasetInfo& info, const std::string& path) {
  if (info.vocabulary == 0) return;
  check(info.largest_token < info.vocabulary, "data",
        "{}: largest_token is {}; tokens below the vocabulary of {} are allowed", path,
        info.largest_token, info.vocabulary);
  check(info.end_of_document < info.vocabulary, "data",
        "{}: end_of_document is {}; tokens below the vocabulary of {} are allowed", path,
        info.end_of_document, info.vocabulary);
}

}  // namespace

std::optional<DatasetDescription> read_dataset_description(const std::string& path) {
  if (!std::filesystem::exists(path)) return std::nullopt;
  const Json document = parse(path);
  DatasetDescription description;
  description.info.tokenizer = text(document, path, "tokenizer");
  description.info.vocabulary = number(document, path, "vocabulary_size", 1, 0);
  description.info.end_of_document = number(document, path, "end_of_document", -1, -1);
  description.info.text_bytes = number(document, path, "text_bytes", 0, 0);
  description.info.largest_token = number(document, path, "largest_token", -1, -1);
  description.tokens = number(document, path, "tokens", 0, -1);
  description.documents = number(document, path, "documents", 0, -1);
  check_range(description.info, path);
  return description;
}

std::string to_json(const DatasetDescription& description) {
  Json document;
  document["tokenizer"] = description.info.tokenizer;
  document["vocabulary_size"] = description.info.vocabulary;
  document["end_of_document"] = description.info.end_of_document;
  document["text_bytes"] = description.info.text_bytes;
  document["largest_token"] = description.info.largest_token;
  document["tokens"] = description.tokens;
  document["documents"] = description.documents;
  return json_text(document, 2) + "\n";
}

}  // namespace switchyard
