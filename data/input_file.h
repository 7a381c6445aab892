#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/files.h"

namespace switchyard {

// A file read from its beginning to its end; errors name it.
class InputFile {
 public:
  explicit InputFile(std::string path);

  const std::string& path() const { return path_; }
  // Appends the next piece, of at most `most` bytes; returns how many, 0 at the end.
  size_t read(std::string& text, size_t most);

 private:
  std::string path_;
  Descriptor file_;
};

// The size of a regular file; nothing for a pipe or device. Throws Error naming what is missing, a
// folder or not readable.
std::optional<int64_t> input_size(const std::string& path);

// The lines of a file, counted from 1, without their ends.
class LineReader {
 public:
  explicit LineReader(InputFile& file) : file_(file) {}
  // The next line, valid until the next call; nothing at the end.
  std::optional<std::string_view> next();
  int64_t number() const { return number_; }

 private:
  InputFile& file_;
  std::string buffer_;
  size_t begin_ = 0;  // of what is not handed out yet
  int64_t number_ = 0;
};

}  // namespace switchyard
