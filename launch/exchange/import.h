#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/dtype.h"

namespace switchyard {

struct ImportRequest {
  std::filesystem::path from;  // config.json and safetensors
  std::filesystem::path to;    // a new run, or with `step` an imported one of the same model
  std::optional<int64_t> step = {};
  std::optional<DType> dtype = {};             // none: each tensor as the files have it
  std::vector<std::string> ignored_keys = {};  // of config.json
  int64_t sequence_length = 0;                 // 0: the model's positions, at most 4,096
  int64_t memory_bytes = 0;                    // for weights at hand; 0: what comparing needs
  bool compares = true;
};

// Makes a run of kind "imported" out of a published model, or adds a step to one, and says so. It
// is there when the logits of both sides have been compared. The same once more changes nothing.
// Throws Error for a model that is not ours to compute, tensors that are not the model's, and
// logits that differ.
void import_model(const ImportRequest& request);

}  // namespace switchyard
