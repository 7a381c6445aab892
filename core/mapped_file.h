#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace switchyard {

// A whole file mapped read-only. Throws Error of `where` naming the file when it cannot be opened
// or is not a regular file; `needed` says what would be.
class MappedFile {
 public:
  MappedFile(std::string path, std::string_view where, std::string_view needed);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  const std::byte* data() const { return data_; }
  int64_t size() const { return size_; }
  // Bytes [begin, end) have been read: their pages leave this process's memory, to be fetched again
  // where they are read once more.
  void release(int64_t begin, int64_t end) const;

 private:
  std::string path_;
  const std::byte* data_ = nullptr;  // null for an empty file
  int64_t size_ = 0;
};

}  // namespace switchyard
