#include "parallel/comm/scratch_pool.h"

#include <atomic>
#include <utility>

namespace switchyard {

namespace {

std::atomic<int64_t> allocation_count{0};

}  // namespace

int64_t ScratchPool::allocations() { return allocation_count.load(); }

Memory ScratchPool::take(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  auto best = free_.end();
  for (auto block = free_.begin(); block != free_.end(); ++block)
    if (block->bytes() >= bytes && (best == free_.end() || block->bytes() < best->bytes()))
      best = block;
  if (best == free_.end()) {
    allocation_count.fetch_add(1);
    return pinned_ ? Memory::pinned(bytes, name_) : Memory(bytes, device_, name_);
  }
  Memory found = std::move(*best);
  free_.erase(best);
  return found;
}

void ScratchPool::give_back(Memory block) {
  if (block.data() == nullptr) return;
  const std::lock_guard lock(mutex_);
  free_.push_back(std::move(block));
}

}  // namespace switchyard
