#include <atomic>
#include <cstdlib>

#include "tests/emulated_cuda/block_runner.h"
#include "tests/emulated_cuda/thread_team.h"

namespace emulated {

namespace {

// Another seed gives the same launches other orders of threads and blocks.
uint64_t seed() {
  static const uint64_t value = [] {
    const char* text = std::getenv("SWITCHYARD_EMULATED_SEED");
    return text == nullptr ? uint64_t{0} : std::strtoull(text, nullptr, 10);
  }();
  return value;
}

uint3 block_at(uint64_t index, dim3 blocks) {
  const uint64_t row = index / blocks.x;
  return {static_cast<unsigned>(index % blocks.x), static_cast<unsigned>(row % blocks.y),
          static_cast<unsigned>(row / blocks.y)};
}

}  // namespace

void run_grid(dim3 blocks, dim3 threads, size_t shared_bytes, const std::function<void()>& body,
              const char* name) {
  static std::atomic<uint64_t> launches{0};
  const uint64_t turn = launches++ + seed();
  const uint64_t count = uint64_t{blocks.x} * blocks.y * blocks.z;
  if (count == 0) report("a launch without blocks");
  std::atomic<uint64_t> next{0};
  const std::function<void()> work = [&] {
    BlockRunner& runner = block_runner();
    runner.prepare(threads, blocks, shared_bytes, &body, name);
    for (uint64_t taken = next++; taken < count; taken = next++) {
      const uint64_t index = turn % 2 == 0 ? taken : count - 1 - taken;
      runner.run(block_at(index, blocks), static_cast<Order>((index + turn) % 3), turn);
    }
    here = {};
  };
  if (count > 1 && count * threads.x >= 2048) {
    run_on_team(work);
  } else {
    work();
  }
}

}  // namespace emulated
