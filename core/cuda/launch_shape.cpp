#include "core/cuda/launch_shape.h"

#include <algorithm>

#include "core/error.h"

namespace switchyard::cuda {

namespace {

void check_range(std::string_view kernel, std::string_view what, int64_t given, int64_t most) {
  check(given >= 1 && given <= most, kernel, "a launch with {} {}; 1 to {} are allowed", given,
        what, most);
}

}  // namespace

void check_launch(const LaunchShape& shape, std::string_view kernel) {
  check_range(kernel, "threads in a block", shape.threads, most_threads);
  check_range(kernel, "blocks along x", shape.x, most_blocks_x);
  check_range(kernel, "blocks along y", shape.y, most_blocks_yz);
  check_range(kernel, "blocks along z", shape.z, most_blocks_yz);
  check(shape.shared_bytes >= 0 && shape.shared_bytes <= most_shared_bytes, kernel,
        "a launch with {} bytes of shared memory in a block; 0 to {} are allowed",
        shape.shared_bytes, most_shared_bytes);
}

LaunchShape flat_launch(int64_t elements, int per_thread, int threads, int64_t most_blocks) {
  const int64_t in_block = int64_t{per_thread} * threads;
  const int64_t blocks = elements / in_block + (elements % in_block != 0 ? 1 : 0);
  return {.x = std::clamp<int64_t>(blocks, 1, std::min(most_blocks, most_blocks_x)),
          .threads = threads};
}

LaunchShape row_launch(int64_t rows, int threads, int64_t most_blocks) {
  return {.x = std::clamp<int64_t>(rows, 1, std::min(most_blocks, most_blocks_x)),
          .threads = threads};
}

}  // namespace switchyard::cuda
