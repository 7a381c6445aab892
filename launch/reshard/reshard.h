#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>

#include "core/dtype.h"
#include "launch/path/run_folder.h"

namespace switchyard {

struct ReshardRequest {
  RunReference from;
  std::filesystem::path to;  // a new folder, or what this has made
  int writers = 1;
  bool weights_only = false;
  std::optional<DType> dtype = {};  // with weights_only; none: as they are stored
  bool compress = false;
  int64_t memory_bytes = int64_t{1} << 30;                        // CopyOptions
  std::function<void(int64_t bytes, int64_t all)> progress = {};  // may throw
};

// Writes a saved step anew as a run folder of its own that needs nothing outside of it: in another
// number of files, in one pass and bounded memory. With all of the state, training goes on from it
// as from the step; of its weights alone it becomes what an average of that one step is. An error
// leaves nothing. A folder that this made with the same options of the same step stays as it is;
// one that holds anything else is an Error.
void reshard(const ReshardRequest& request);

}  // namespace switchyard
