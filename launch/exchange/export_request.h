#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "core/dtype.h"
#include "model/exchange/architecture.h"
#include "parallel/checkpoint/state_groups.h"

namespace switchyard {

struct ExportRequest {
  std::string from;          // RUN or RUN@STEP: a path, an average or an imported model
  std::filesystem::path to;  // a new folder
  std::string weights = std::string(groups::model);
  std::optional<DType> dtype = {};  // none: each tensor as it is stored
  std::optional<Architecture> architecture = {};
  std::filesystem::path tokenizer = {};  // whose files go along; empty: the imported model's
  int64_t max_shard_bytes = 5'000'000'000;
  int64_t memory_bytes = 0;  // for weights at hand; 0: what comparing needs
  bool compares = true;
};

}  // namespace switchyard
