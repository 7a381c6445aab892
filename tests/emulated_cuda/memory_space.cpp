#include "tests/emulated_cuda/memory_space.h"

#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cstring>
#include <new>

#include "tests/emulated_cuda/faults.h"
#include "tests/emulated_cuda/report.h"

namespace emulated {

namespace {

constexpr size_t page = 4096;
constexpr size_t range = size_t{1} << 42;

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

void* at(uintptr_t address) { return std::bit_cast<void*>(address); }

// Workspaces are large and hardly used, so from here on pages hold what they should without being
// touched: 0xff by a file that is mapped over and over, zeros as pages that are new.
constexpr size_t large = size_t{1} << 20;

int file_of_ones() {
  static const int file = [] {
    const int made = memfd_create("ones", MFD_CLOEXEC);
    const std::string ones(large, '\xff');
    return made >= 0 && write(made, ones.data(), large) == ssize_t{large} ? made : -1;
  }();
  return file;
}

bool map(uintptr_t address, size_t bytes, int flags, int file) {
  void* where =
      mmap(at(address), bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | flags, file, 0);
  // Unlike the pages around it, so that the kernel need not split and merge ranges in protect().
  return where != MAP_FAILED && madvise(where, bytes, MADV_DONTDUMP) == 0;
}

void fill_with_ones(uintptr_t address, size_t bytes) {
  const uintptr_t end = address + bytes;
  while (end - address >= large && map(address, large, MAP_NORESERVE, file_of_ones())) {
    address += large;
  }
  std::memset(at(address), 0xff, end - address);
}

}  // namespace

MemorySpace::MemorySpace(const char* name) : name_(name) {
  void* memory =
      mmap(nullptr, range, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  begin_ = next_ = std::bit_cast<uintptr_t>(memory);
  install_fault_handler();
}

void* MemorySpace::allocate(size_t bytes, int device) {
  Allocation allocation;
  allocation.bytes = bytes;
  allocation.device = device;
  const size_t taken = round_up(bytes == 0 ? 1 : bytes, 16);
  allocation.mapped_bytes = round_up(taken, page);
  allocation.mapping = next_ + page;
  if (allocation.mapping + allocation.mapped_bytes + page > begin_ + range) return nullptr;
  if (mprotect(at(allocation.mapping), allocation.mapped_bytes, PROT_READ | PROT_WRITE) != 0) {
    return nullptr;
  }
  next_ = allocation.mapping + allocation.mapped_bytes;
  // Unlike the pages around it, so that the kernel need not split and merge ranges in protect().
  madvise(at(allocation.mapping), allocation.mapped_bytes, MADV_DONTDUMP);
  fill_with_ones(allocation.mapping, allocation.mapped_bytes);
  if (protection_ != (PROT_READ | PROT_WRITE)) {
    mprotect(at(allocation.mapping), allocation.mapped_bytes, protection_);
  }
  allocation.begin = allocation.mapping + allocation.mapped_bytes - taken;
  live_[allocation.begin] = allocation;
  held_[device] += allocation.mapped_bytes;
  return at(allocation.begin);
}

void MemorySpace::fill(void* memory, int value, size_t bytes) {
  const auto begin = std::bit_cast<uintptr_t>(memory);
  const uintptr_t first = round_up(begin, page), last = (begin + bytes) / page * page;
  if (value != 0 || !owns(memory) || bytes < large ||
      !map(first, last - first, MAP_ANONYMOUS | MAP_NORESERVE, -1)) {
    std::memset(memory, value, bytes);
    return;
  }
  std::memset(memory, 0, first - begin);
  std::memset(at(last), 0, begin + bytes - last);
}

bool MemorySpace::release(void* memory) {
  const auto found = live_.find(std::bit_cast<uintptr_t>(memory));
  if (found == live_.end()) return false;
  const Allocation& allocation = found->second;
  mmap(at(allocation.mapping), allocation.mapped_bytes, PROT_NONE,
       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  held_[allocation.device] -= allocation.mapped_bytes;
  freed_[allocation.begin] = allocation;
  live_.erase(found);
  return true;
}

bool MemorySpace::owns(const void* address) const {
  const auto value = std::bit_cast<uintptr_t>(address);
  return value >= begin_ && value < begin_ + range;
}

const Allocation* MemorySpace::find(const void* address) const {
  const auto value = std::bit_cast<uintptr_t>(address);
  auto after = live_.upper_bound(value);
  if (after == live_.begin()) return nullptr;
  const Allocation& allocation = std::prev(after)->second;
  return value < allocation.end() || value == allocation.begin ? &allocation : nullptr;
}

size_t MemorySpace::held(int device) const {
  const auto found = held_.find(device);
  return found == held_.end() ? 0 : found->second;
}

std::string MemorySpace::describe(const void* address) const {
  const auto value = std::bit_cast<uintptr_t>(address);
  std::string text = std::string(name_) + " memory: ";
  if (const Allocation* allocation = find(address)) {
    return text + "byte " + std::to_string(value - allocation->begin) + " of an allocation of " +
           std::to_string(allocation->bytes);
  }
  const auto before = [value](const std::map<uintptr_t, Allocation>& all) -> const Allocation* {
    const auto after = all.upper_bound(value);
    return after == all.begin() ? nullptr : &std::prev(after)->second;
  };
  const Allocation* freed = before(freed_);
  if (freed != nullptr && value < freed->end()) {
    return text + "byte " + std::to_string(value - freed->begin) + " of a freed allocation of " +
           std::to_string(freed->bytes);
  }
  if (const auto after = live_.upper_bound(value);
      after != live_.end() && after->second.mapping - value <= page) {
    return text + std::to_string(after->second.begin - value) + " bytes before an allocation of " +
           std::to_string(after->second.bytes);
  }
  if (const Allocation* live = before(live_)) {
    return text + std::to_string(value - live->end()) + " bytes past the end of an allocation of " +
           std::to_string(live->bytes);
  }
  return text + "an address that was never allocated";
}

void MemorySpace::protect(int protection) {
  protection_ = protection;
  for (const auto& [begin, allocation] : live_) {
    mprotect(at(allocation.mapping), allocation.mapped_bytes, protection);
  }
}

// Never destroyed: owners with static lifetime free their memory late.
MemorySpace& device_space() {
  static MemorySpace& space = *[] {
    auto* made = new MemorySpace("device");
    made->protect(PROT_NONE);
    return made;
  }();
  return space;
}

MemorySpace& pinned_space() {
  static MemorySpace& space = *new MemorySpace("pinned");
  return space;
}

namespace {
int accesses = 0;
}

DeviceAccess::DeviceAccess() {
  if (accesses++ == 0) device_space().protect(PROT_READ | PROT_WRITE);
}

DeviceAccess::~DeviceAccess() {
  if (--accesses == 0) device_space().protect(PROT_NONE);
}

std::string check_range(const void* address, size_t bytes) {
  for (MemorySpace* space : {&device_space(), &pinned_space()}) {
    if (!space->owns(address)) continue;
    const Allocation* allocation = space->find(address);
    if (allocation == nullptr) return space->describe(address);
    if (std::bit_cast<uintptr_t>(address) + bytes > allocation->end()) {
      return std::to_string(bytes) + " bytes from there on pass the end of " +
             space->describe(address);
    }
    return "";
  }
  return address == nullptr && bytes > 0 ? "a null pointer" : "";
}

}  // namespace emulated
