#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "parallel/checkpoint/checkpoint.h"

namespace switchyard {

// A tensor that is written from where it already lies.
struct CopiedTensor {
  StoredTensor tensor;
  std::vector<std::string> aliases;
  // Gives a part's elements, row-major. Called from one thread for all tensors; parts are whole
  // along all axes but the first and come in order, so checksums can be compared on the way.
  std::function<void(const Box& part, void* out)> read;
};

struct CopyOptions {
  int writers = 1;
  int64_t least_file_bytes = 1;  // there are fewer files where some would hold less of tensors
  // Of host memory, the writing's buffers included. At least a row of a tensor is held, and what
  // `least_copy_memory` says.
  int64_t memory_bytes = int64_t{1} << 30;
  std::function<void(int64_t bytes)> progress = {};  // hears of each part's bytes; may throw
  bool compress = false;  // by HDF5, in one thread: format version compressed_version
};
inline constexpr int64_t least_copy_memory = int64_t{128} << 20;

// Writes a checkpoint from one process in one pass over the tensors, in their order, as `writers`
// ranks would: each has a file of about as many bytes as the others (and another one of the
// moments), for which tensors are cut along their first axis. Files are
// brought to the disk a few at once. A complete checkpoint of the step is an Error; an error leaves
// nothing of it.
void copy_checkpoint(const std::filesystem::path& checkpoints, CheckpointInfo info,
                     const std::vector<CopiedTensor>& tensors, const CopyOptions& options);

}  // namespace switchyard
