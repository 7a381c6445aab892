#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/sharded_tensor.h"
#include "parallel/checkpoint/index.h"
#include "parallel/checkpoint/read_jobs.h"

namespace switchyard {

// A part of a file that several ranks of a machine want bytes of: of whole blocks, and within one
// multiple of window_bytes and the next.
struct SharedWindow {
  int shard = 0;
  int64_t begin = 0, end = 0;  // bytes of the file
  uint64_t wanted = 0;         // bit r: by rank r of those that share
};
inline constexpr int64_t window_bytes = int64_t{2} << 20;
inline constexpr int most_sharing = 64;  // ranks

// What ranks of a machine read once for all of them.
struct SharedPlan {
  std::vector<SharedWindow> windows;  // in the order in which ranks come to them
  std::vector<uint8_t> pieces;        // by number in the index: whether its bytes are among them

  std::string to_bytes() const;
  static SharedPlan from_bytes(std::string_view bytes);
};

// What a rank reads, for the plan. It also tells one state of the index from others.
std::string wants_of(const CheckpointIndex& index, std::span<const ReadJob> jobs);
// By rank; one that wants nothing may be empty. Such pieces are shared as would otherwise be read
// more than once, in all or for short parts of rows; none where the index differs.
SharedPlan plan_shared(const CheckpointIndex& index, std::span<const std::string> wants);

}  // namespace switchyard
