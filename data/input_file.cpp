#include "data/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace switchyard {

namespace {
constexpr size_t piece_bytes = size_t{1} << 20;
}

InputFile::InputFile(std::string path) : path_(std::move(path)) {
  file_ = Descriptor(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  check(static_cast<bool>(file_), "tokenize", "{} cannot be opened: {}", path_,
        std::strerror(errno));
  posix_fadvise(file_.number(), 0, 0, POSIX_FADV_SEQUENTIAL);
}

size_t InputFile::read(std::string& text, size_t most) {
  const size_t before = text.size();
  text.resize(before + most);
  ssize_t got = 0;
  do {
    got = ::read(file_.number(), text.data() + before, most);
  } while (got < 0 && errno == EINTR);
  check(got >= 0, "tokenize", "{} cannot be read: {}", path_, std::strerror(errno));
  text.resize(before + static_cast<size_t>(got));
  return static_cast<size_t>(got);
}

std::optional<int64_t> input_size(const std::string& path) {
  struct stat status {};
  const bool there = stat(path.c_str(), &status) == 0;
  check(there, "tokenize", "{} cannot be opened: {}", path, std::strerror(errno));
  check(!S_ISDIR(status.st_mode), "tokenize", "{} is a folder; files are needed", path);
  const bool readable = access(path.c_str(), R_OK) == 0;
  check(readable, "tokenize", "{} cannot be read: {}", path, std::strerror(errno));
  if (!S_ISREG(status.st_mode)) return std::nullopt;
  return status.st_size;
}

std::optional<std::string_view> LineReader::next() {
  size_t searched = begin_;
  for (;;) {
    const size_t end = buffer_.find('\n', searched);
    if (end != std::string::npos) {
      ++number_;
      const size_t begin = std::exchange(begin_, end + 1);
      return std::string_view(buffer_).substr(begin, end - begin);
    }
    buffer_.erase(0, std::exchange(begin_, 0));
    searched = buffer_.size();
    if (file_.read(buffer_, piece_bytes) > 0) continue;
    if (buffer_.empty()) return std::nullopt;
    ++number_;
    begin_ = buffer_.size();
    return std::string_view(buffer_);
  }
}

}  // namespace switchyard
