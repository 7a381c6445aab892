#include "core/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "core/device_backend.h"
#include "core/error.h"

namespace switchyard {

namespace {

constexpr int64_t alignment = 64;
constexpr int64_t smallest_scratch_block = 1 << 20;

std::atomic<int64_t> held_bytes{0};
std::atomic<int64_t> most_bytes{0};
std::atomic<int64_t> allocation_count{0};

int64_t align_up(int64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

void count_allocation(int64_t bytes) {
  allocation_count.fetch_add(1);
  const int64_t now = held_bytes.fetch_add(bytes) + bytes;
  int64_t most = most_bytes.load();
  while (now > most && !most_bytes.compare_exchange_weak(most, now)) {
  }
}

void* map_pages(int64_t bytes) {
  void* address = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) return nullptr;
  madvise(address, static_cast<size_t>(bytes), MADV_HUGEPAGE);
  return address;
}

[[noreturn]] void refuse(std::string_view name, int64_t bytes, Device device) {
  if (device == Device::cpu) {
    fail("memory", "'{}' needs {} bytes, which this machine does not give", name, bytes);
  }
  const GpuDescription gpu = describe_gpu();
  fail("memory", "'{}' needs {} bytes of GPU {} ({}), which has {} of {} left", name, bytes,
       gpu.index, gpu.name, gpu.free_bytes, gpu.total_bytes);
}

}  // namespace

MemoryStatistics memory_statistics() {
  return {held_bytes.load(), most_bytes.load(), allocation_count.load()};
}

Memory::Memory(int64_t bytes, Device device, std::string_view name)
    : bytes_(bytes), device_(device) {
  if (bytes == 0) return;
  data_ = device == Device::cpu ? map_pages(bytes) : cuda::allocate(bytes);
  if (data_ == nullptr) refuse(name, bytes, device);
  count_allocation(bytes);
}

Memory Memory::pinned(int64_t bytes, std::string_view name) {
  if (!is_available(Device::cuda)) return Memory(bytes, Device::cpu, name);
  Memory memory;
  memory.bytes_ = bytes;
  memory.pinned_ = true;
  if (bytes == 0) return memory;
  memory.data_ = cuda::allocate_pinned(bytes);
  if (memory.data_ == nullptr) refuse(name, bytes, Device::cpu);
  count_allocation(bytes);
  return memory;
}

Memory::~Memory() {
  if (data_ == nullptr) return;
  if (device_ == Device::cuda) {
    cuda::release(data_);
  } else if (pinned_) {
    cuda::release_pinned(data_);
  } else {
    munmap(data_, static_cast<size_t>(bytes_));
  }
  held_bytes.fetch_sub(bytes_);
}

Memory::Memory(Memory&& other) noexcept { *this = std::move(other); }

Memory& Memory::operator=(Memory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(device_, other.device_);
  std::swap(pinned_, other.pinned_);
  return *this;
}

Arena::Arena(std::string name, int64_t bytes, Device device)
    : name_(std::move(name)), memory_(bytes, device, name_) {}

Arena Arena::pinned(std::string name, int64_t bytes) {
  Arena arena;
  arena.memory_ = Memory::pinned(bytes, name);
  arena.name_ = std::move(name);
  return arena;
}

int64_t Arena::footprint(const Shape& shape, DType dtype) {
  return align_up(shape.elements() * size_of(dtype));
}

Tensor Arena::allocate(const Shape& shape, DType dtype, std::string_view name) {
  const int64_t bytes = footprint(shape, dtype);
  check(used_ + bytes <= capacity(), "arena",
        "'{}' of shape {} needs {} bytes of arena '{}', "
        "which has {} of {} left",
        name, shape.to_string(), bytes, name_, capacity() - used_, capacity());
  Tensor tensor(static_cast<char*>(memory_.data()) + used_, dtype, shape, memory_.device());
  used_ += bytes;
  return tensor;
}

Scratch::Scope::Scope(Scratch& scratch)
    : scratch_(scratch), block_(scratch.block_), used_(scratch.used_) {}

Scratch::Scope::~Scope() { scratch_.give_back(block_, used_); }

Tensor Scratch::Scope::allocate(const Shape& shape, DType dtype) {
  return Tensor(allocate_bytes(shape.elements() * size_of(dtype)), dtype, shape, scratch_.device_);
}

void* Scratch::Scope::allocate_bytes(int64_t bytes) { return scratch_.take(align_up(bytes)); }

int64_t Scratch::capacity() const {
  int64_t bytes = 0;
  for (const auto& block : blocks_) bytes += block.bytes();
  return bytes;
}

void* Scratch::take(int64_t bytes) {
  while (block_ < blocks_.size() && used_ + bytes > blocks_[block_].bytes()) {
    ++block_;
    used_ = 0;
  }
  if (block_ == blocks_.size()) {
    blocks_.emplace_back(std::max(bytes, smallest_scratch_block), device_, "operator scratch");
  }
  void* address = static_cast<char*>(blocks_[block_].data()) + used_;
  used_ += bytes;
  return address;
}

void Scratch::give_back(size_t block, int64_t used) {
  block_ = block;
  used_ = used;
  if (block == 0 && used == 0 && blocks_.size() > 1) {
    const int64_t bytes = capacity();
    blocks_.clear();
    try {
      blocks_.emplace_back(bytes, device_, "operator scratch");
    } catch (...) {  // scopes end in destructors; the next take asks again, and may throw
    }
  }
}

}  // namespace switchyard
