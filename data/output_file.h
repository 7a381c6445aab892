#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/files.h"

namespace switchyard {

// A file that is written as PATH.partial and gets its name when it is whole and on the disk. Until
// publish() it is removed with this object. A second writer of the same path is refused, by a lock
// that dies with the process. Every failure throws Error naming the file.
class OutputFile {
 public:
  explicit OutputFile(std::string path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  const std::string& path() const { return path_; }
  int64_t size() const { return size_; }

  void append(std::span<const std::byte> bytes);  // buffered
  template <class T>
  void append_value(T value) {
    append(std::as_bytes(std::span<const T>(&value, 1)));
  }
  // Overwrites, or reads back, what lies at an offset.
  void write_at(int64_t offset, std::span<const std::byte> bytes);
  void read_at(int64_t offset, std::span<std::byte> bytes);

  void sync();     // all on the disk, still under the temporary name
  void publish();  // renames; call sync() before

 private:
  void open_and_lock();
  void flush();
  void write_all(int64_t offset, std::span<const std::byte> bytes);

  std::string path_;
  std::string partial_;
  Descriptor file_;
  int64_t size_ = 0;
  std::vector<std::byte> buffer_;
};

}  // namespace switchyard
