#pragma once

#include <optional>
#include <span>
#include <string>

#include "data/dataset.h"

namespace switchyard {

// PREFIX.json: what Megatron's two files do not say.
struct DatasetDescription {
  DatasetInfo info;
  int64_t tokens = -1;     // of the .bin, -1: not said
  int64_t documents = -1;  // -1: not said
};

// Nothing when PREFIX.json is not there. Throws Error naming the file for one that is not JSON, has
// a field of a wrong type or range, or whose largest token is not below its vocabulary.
std::optional<DatasetDescription> read_dataset_description(const std::string& path);
std::string to_json(const DatasetDescription& description);

// What holds for all of several sets: one tokenizer (a set that names none is taken at its word),
// the largest vocabulary, the sum of the bytes (0 when one does not say). Throws Error naming two
// sets whose tokenizers or ends of document differ.
DatasetInfo common_info(std::span<const TokenDataset* const> sets);

}  // namespace switchyard
