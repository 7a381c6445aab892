#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "parallel/checkpoint/files.h"

namespace switchyard {

// Reads of one thread. A short one takes what lies around it along, and finds its neighbours in
// memory later: a read of 64 KiB takes a disk as long as one of 4. For the last files read.
class ReadWindow {
 public:
  // As ReadableFile::read.
  void read(const ReadableFile& file, int64_t position, int64_t bytes, void* out, ReadWay way);

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  struct Part {
    uint64_t file = 0;  // ReadableFile::number(); 0: none
    int64_t begin = 0, end = 0;
    std::unique_ptr<std::byte, Free> memory;
  };
  Part& part_with(const ReadableFile& file, int64_t begin, int64_t end, ReadWay way);

  std::array<Part, 16> parts_;
  size_t next_ = 0;  // to be used anew
};

}  // namespace switchyard
