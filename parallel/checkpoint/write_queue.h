#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <system_error>
#include <thread>
#include <vector>

#include "parallel/checkpoint/direct_file.h"

namespace switchyard {

// Writes to files behind the caller, who prepares what comes next meanwhile: bytes are copied to a
// few buffers, which threads write. Bytes that follow each other in a file are written together.
// Errors name the file; they may come with a later call. For one caller at a time.
class WriteQueue {
 public:
  WriteQueue() = default;
  ~WriteQueue();  // waits for what is being written
  WriteQueue(const WriteQueue&) = delete;
  WriteQueue& operator=(const WriteQueue&) = delete;

  // The bytes may change afterwards; the file must stay until wait().
  void add(const DirectFile& file, int64_t position, std::span<const std::byte> bytes);
  // The bytes must stay as they are until wait(): they are not copied, where they lie as far behind
  // a block's begin as in the file.
  void add_staying(const DirectFile& file, int64_t position, std::span<const std::byte> bytes);
  int buffers() const { return buffers_; }  // that copies have now
  void wait();  // until all that was added has been written; to the disk itself it need not be
  void free_buffers();  // behind wait(); what is added later takes new ones

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  using Buffer = std::unique_ptr<std::byte[], Free>;
  struct Part {
    const DirectFile* file = nullptr;  // none: nothing is in the buffer
    int64_t begin = 0;                 // of the file
    int64_t bytes = 0;
    const std::byte* data = nullptr;  // as far behind a block's begin as in the file
    Buffer buffer = {};               // where they lie; none: in memory that stays
  };

  // Bytes beside whole blocks, which are written last.
  struct Rest {
    const DirectFile* file = nullptr;
    int64_t begin = 0;  // of the file
    std::vector<std::byte> bytes = {};
  };

  void hand_over();
  void queue(Part part);
  void set_aside(const DirectFile& file, int64_t begin, std::span<const std::byte> bytes);
  void write_rests();
  void take_buffer();
  void start_thread();
  void end_threads();
  void work();
  void note(const DirectFile& file, std::error_code problem);
  void throw_problem();

  Part filling_;
  std::vector<Rest> rests_;
  size_t rest_bytes_ = 0;
  std::vector<std::thread> threads_;
  int buffers_ = 0;  // that were made

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Part> queue_;
  std::vector<Buffer> free_;
  bool ending_ = false;
  std::error_code problem_;  // the first one
  const DirectFile* problem_file_ = nullptr;
};

}  // namespace switchyard
