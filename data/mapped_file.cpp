#include "data/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace switchyard {

namespace {

// Maps an open file; returns null for an empty one.
const std::byte* map(int file, int64_t size, const std::string& path) {
  if (size == 0) return nullptr;
  void* memory = mmap(nullptr, static_cast<size_t>(size), PROT_READ, MAP_SHARED, file, 0);
  check(memory != MAP_FAILED, "data", "{} ({} bytes) cannot be mapped: {}", path, size,
        std::strerror(errno));
  return static_cast<const std::byte*>(memory);
}

struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0) close(number);
  }
};

}  // namespace

MappedFile::MappedFile(std::string path) : path_(std::move(path)) {
  const Descriptor file{open(path_.c_str(), O_RDONLY | O_CLOEXEC)};
  check(file.number >= 0, "data", "{} cannot be opened: {}", path_, std::strerror(errno));
  struct stat status {};
  const bool known = fstat(file.number, &status) == 0;
  check(known, "data", "{} cannot be examined: {}", path_, std::strerror(errno));
  check(S_ISREG(status.st_mode), "data", "{} is not a regular file; a token set is made of two",
        path_);
  size_ = status.st_size;
  data_ = map(file.number, size_, path_);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), static_cast<size_t>(size_));
}

}  // namespace switchyard
