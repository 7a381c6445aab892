#pragma once

#include <cstdint>
#include <filesystem>
#include <future>
#include <memory>
#include <system_error>

#include "core/memory.h"
#include "parallel/checkpoint/direct_file.h"

namespace switchyard {

// Files, one behind the other, that a thread writes while the caller fills the next part of them.
// Errors are those of storage; they may come with a later call.
class StreamedFile {
 public:
  // Two buffers of buffer_bytes each, more where a part is larger.
  explicit StreamedFile(int64_t buffer_bytes) : buffer_bytes_(buffer_bytes) {}
  void open(const std::filesystem::path& file);  // made anew; the one before must be closed
  // Where the caller puts bytes [position, position + bytes) of the file, before the next call.
  void* part(int64_t position, int64_t bytes);
  void close();  // no further parts; it is still being written
  void wait();   // until all files that were closed are on the disk

 private:
  void write(bool last);

  int64_t buffer_bytes_;
  std::filesystem::path path_;
  std::shared_ptr<DirectFile> file_;
  Memory filled_;   // bytes [begin_, begin_ + used_) of the file
  Memory written_;  // or being written
  int64_t begin_ = 0;
  int64_t used_ = 0;
  std::filesystem::path writing_;
  std::future<std::error_code> written_well_;
};

}  // namespace switchyard
