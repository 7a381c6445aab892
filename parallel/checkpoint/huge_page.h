#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

namespace switchyard {

// Memory that is one page where the system has such large ones: a disk writes to it quickest.
class HugePage {
 public:
  static constexpr int64_t bytes = int64_t{2} << 20;

  HugePage() {
    if (memory_) madvise(memory_.get(), bytes, MADV_HUGEPAGE);
  }
  explicit operator bool() const { return memory_ != nullptr; }  // false: there was no room
  std::byte* get() const { return memory_.get(); }

 private:
  struct Free {
    void operator()(void* pages) const { std::free(pages); }
  };
  std::unique_ptr<std::byte, Free> memory_{
      static_cast<std::byte*>(std::aligned_alloc(bytes, bytes))};
};

}  // namespace switchyard
