#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/memory.h"
#include "model/gpt_stage.h"
#include "optim/distributed_optimizer.h"

namespace switchyard {

// What changes from step to step, on its way from the host to fixed places in the device's memory:
// tokens, the step's number, and f64 numbers. Two pinned sets take turns, so that the host fills
// one while the other is still being copied. On the CPU there is one set, and nothing is copied.
class InputRing {
 public:
  // Room for so many microbatches of this shape, [micro_batch, sequence_length].
  InputRing(const Shape& microbatch, int64_t microbatches, Device device);

  // Host memory to fill; waits until the copies queued from it two rounds ago are done.
  std::span<TokenBatch> next(int64_t microbatches);
  // Queues the copy of what next() gave and of the step; the same microbatches where they will be.
  std::span<const TokenBatch> send(int64_t step, Stream& stream);
  const uint32_t* step_on_device() const { return step_on_device_; }

  struct Numbers {
    double learning_rate = 0;
    double tokens = 0;
    std::array<double, DistributedOptimizer::remark_count> remarks{};
  };
  struct DeviceNumbers {
    Tensor learning_rate, tokens, remarks;
  };
  // Queues the copy of numbers that are only known later in a step.
  const DeviceNumbers& send(const Numbers& numbers, Stream& stream);

  int64_t device_bytes() const { return arena_.capacity(); }
  static int64_t bytes_needed(const Shape& microbatch, int64_t microbatches);

 private:
  // Views of one set's memory, the same in host and device memory.
  struct Set {
    Tensor step;  // i32 [1]; tokens and targets of each microbatch lie behind it
    Tensor numbers;
    std::vector<TokenBatch> batches;
    int64_t bytes_until(int64_t microbatches) const;
  };
  static Set lay_out(Arena& arena, const Shape& microbatch, int64_t microbatches);

  Device device_;
  Arena arena_;  // the device's set
  Set device_set_;
  DeviceNumbers numbers_;
  const uint32_t* step_on_device_ = nullptr;
  static constexpr size_t turns = 2;
  std::array<Arena, turns> host_arenas_;
  std::array<Set, turns> host_sets_;
  std::array<Event, turns> copied_;
  size_t turn_ = 0;
  int64_t given_ = 0;  // microbatches that next() gave
};

}  // namespace switchyard
