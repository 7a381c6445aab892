#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace emulated {

struct Allocation {
  uintptr_t begin = 0;
  size_t bytes = 0;
  int device = 0;
  uintptr_t mapping = 0;  // of whole pages, which end where the allocation does
  size_t mapped_bytes = 0;
  uintptr_t end() const { return begin + bytes; }
};

// A range of addresses of its own, so that a pointer tells by itself where it points. Allocations
// lie between pages that fault, end to the next multiple of 16 bytes, hold 0xff (no number) at
// first, and their addresses are never used again.
class MemorySpace {
 public:
  explicit MemorySpace(const char* name);

  void* allocate(size_t bytes, int device);           // null where the machine has no room
  bool release(void* memory);                         // false: not the start of an allocation
  void fill(void* memory, int value, size_t bytes);   // as memset, while it may be touched
  bool owns(const void* address) const;               // in the range, allocated or not
  const Allocation* find(const void* address) const;  // null outside allocations
  size_t held(int device) const;
  // Where an address is, in words; for reports.
  std::string describe(const void* address) const;
  void protect(int protection);  // all allocations, from now on

 private:
  const char* name_;
  uintptr_t begin_ = 0, next_ = 0;
  int protection_ = 3;
  std::map<uintptr_t, Allocation> live_, freed_;
  std::map<int, size_t> held_;
};

MemorySpace& device_space();
MemorySpace& pinned_space();

// While one lives, device memory may be touched. Under the lock of the machine.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

// Empty where `bytes` from `address` on lie in one allocation or in plain host memory, else what
// is wrong.
std::string check_range(const void* address, size_t bytes);

}  // namespace emulated
