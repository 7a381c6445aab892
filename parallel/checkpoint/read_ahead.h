#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "core/memory.h"

namespace switchyard {

// Reads parts one after another in a thread of its own, a few ahead of whoever uses them.
class ReadAhead {
 public:
  struct Part {
    int64_t bytes = 0;
    std::function<void(void* out)> read;
  };

  // What the parts read from must outlive it. `buffers`, 2 or more, have the largest part's size.
  ReadAhead(std::vector<Part> parts, size_t buffers);
  ~ReadAhead();  // waits for the part that is being read
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  // The next part's bytes, until the next call. Throws what reading it has thrown.
  std::span<const std::byte> next();

 private:
  void work();

  const std::vector<Part> parts_;
  std::vector<Memory> buffers_;
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t read_ = 0, given_ = 0, free_ = 0;  // parts; those before free_ are not used any more
  bool ending_ = false;
  std::exception_ptr problem_;
  std::thread thread_;
};

}  // namespace switchyard
