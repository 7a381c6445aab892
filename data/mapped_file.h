#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace switchyard {

// A whole file mapped read-only; throws Error naming the file when it cannot be opened or is not a
// regular file.
class MappedFile {
 public:
  explicit MappedFile(std::string path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  const std::byte* data() const { return data_; }
  int64_t size() const { return size_; }

 private:
  std::string path_;
  const std::byte* data_ = nullptr;  // null for an empty file
  int64_t size_ = 0;
};

}  // namespace switchyard
