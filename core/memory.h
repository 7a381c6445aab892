#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/device.h"
#include "core/tensor.h"

namespace switchyard {

// What this process holds in tensor memory (arenas and operator scratch, oneDNN's included), of
// host and device together.
struct MemoryStatistics {
  int64_t bytes = 0;        // held now
  int64_t peak_bytes = 0;   // the most ever held
  int64_t allocations = 0;  // counted since the start; constant from the second step on
};
MemoryStatistics memory_statistics();

// One block of memory, aligned to a page (on a GPU to 256 bytes), freed with its owner; filled with
// zeros. Throws Error naming it where the device has no room.
class Memory {
 public:
  Memory() = default;
  Memory(int64_t bytes, Device device, std::string_view name);
  // Host memory that a GPU copies from and to while the host goes on; plain memory without a GPU.
  static Memory pinned(int64_t bytes, std::string_view name);
  ~Memory();
  Memory(Memory&& other) noexcept;
  Memory& operator=(Memory&& other) noexcept;

  void* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  Device device() const { return device_; }

 private:
  void* data_ = nullptr;
  int64_t bytes_ = 0;
  Device device_ = Device::cpu;
  bool pinned_ = false;
};

// A named block with a fixed size that tensors are cut from, each aligned to 64 bytes. Asking for
// more than its capacity throws, naming the arena and the tensor.
class Arena {
 public:
  Arena() = default;
  Arena(std::string name, int64_t bytes, Device device = Device::cpu);
  static Arena pinned(std::string name, int64_t bytes);

  Tensor allocate(const Shape& shape, DType dtype, std::string_view name);
  void clear() { used_ = 0; }
  int64_t used() const { return used_; }
  int64_t capacity() const { return memory_.bytes(); }
  Device device() const { return memory_.device(); }
  // Bytes that a tensor takes from an arena, alignment included.
  static int64_t footprint(const Shape& shape, DType dtype);

 private:
  std::string name_;
  Memory memory_;
  int64_t used_ = 0;
};

// Temporary memory of operators, given back at the end of a scope, last first. It grows while it is
// first used and keeps its size from then on, so a repeated step allocates nothing.
class Scratch {
 public:
  explicit Scratch(Device device = Device::cpu) : device_(device) {}

  class Scope {
   public:
    explicit Scope(Scratch& scratch);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    Tensor allocate(const Shape& shape, DType dtype);
    void* allocate_bytes(int64_t bytes);  // aligned to 64 bytes

   private:
    Scratch& scratch_;
    size_t block_;
    int64_t used_;
  };

  int64_t capacity() const;

 private:
  void* take(int64_t bytes);
  void give_back(size_t block, int64_t used);

  Device device_;
  std::vector<Memory> blocks_;
  size_t block_ = 0;  // the block being filled
  int64_t used_ = 0;  // bytes used of that block
};

}  // namespace switchyard
