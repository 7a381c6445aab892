#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "core/memory.h"

namespace switchyard {

// Blocks of memory that operations borrow; kept, so that a repeated step allocates nothing.
class ScratchPool {
 public:
  ScratchPool(Device device, std::string name) : device_(device), name_(std::move(name)) {}
  enum Pinned : uint8_t { pinned };  // host memory that a GPU copies from and to
  ScratchPool(Pinned, std::string name) : pinned_(true), name_(std::move(name)) {}
  Memory take(int64_t bytes);  // at least so many
  void give_back(Memory block);
  // Made by all pools of this process so far. Where ranks are threads, their timing decides how
  // many operations are under way at once, and with them blocks.
  static int64_t allocations();

 private:
  Device device_ = Device::cpu;
  bool pinned_ = false;
  std::string name_;
  std::mutex mutex_;
  std::vector<Memory> free_;
};

}  // namespace switchyard
