#pragma once

#include "model/exchange/architecture.h"

namespace switchyard {

// What a config.json says of a model.
struct ForeignConfig {
  Architecture architecture = Architecture::gpt2;
  GptConfig config;                  // max_positions: for rotary positions, too
  std::vector<std::string> remarks;  // what was taken with a word to say, for a log
};

// Throws Error naming `origin` (the file), key and value for what we do not compute, for a key that
// is not known and not among `ignored`, for one that is missing, and for an ignored one that is not
// there. Keys that say nothing of the computation (token ids, "torch_dtype", ...) are known.
ForeignConfig read_foreign_config(const std::string& text, const std::string& origin,
                                  const std::vector<std::string>& ignored = {});

// A config.json that transformers (4 and 5) read as this model; its "torch_dtype" is that of the
// weights. Of `original`, the config.json of the model that this one came from (empty: none), what
// says nothing of the computation is kept, such as the ids of special tokens; without one
// end_of_document, where it is known, is such an id.
std::string write_foreign_config(const GptConfig& config, Architecture architecture, DType dtype,
                                 const std::string& original = "",
                                 std::optional<int64_t> end_of_document = {});

// What that config.json cannot say, for a log: dropout of the hidden states, of a Llama.
std::vector<std::string> left_out_of_config(const GptConfig& config, Architecture architecture);

}  // namespace switchyard
