#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace switchyard {

// What PREFIX.json says of a token set (absent for sets made elsewhere).
struct DatasetInfo {
  std::string tokenizer;         // "byte", ...; empty: unknown
  int64_t vocabulary = 0;        // tokens are below this
  int64_t end_of_document = -1;  // token id, -1: none
  int64_t text_bytes = 0;        // bytes of text behind the tokens, 0: unknown
  int64_t largest_token = -1;    // -1: unknown
};

// All of PREFIX.json: what Megatron's two files do not say.
struct DatasetDescription {
  DatasetInfo info;
  int64_t tokens = -1;     // of the .bin, -1: not said
  int64_t documents = -1;  // -1: not said
};

// Nothing when PREFIX.json is not there. Throws Error naming the file for one that is not JSON, has
// a field of a wrong type or range, or whose largest token is not below its vocabulary.
std::optional<DatasetDescription> read_dataset_description(const std::string& path);
std::string to_json(const DatasetDescription& description);

}  // namespace switchyard
