#include "core/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "core/files.h"

namespace switchyard {

MappedFile::MappedFile(std::string path, std::string_view where, std::string_view needed)
    : path_(std::move(path)) {
  const Descriptor file(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  check(static_cast<bool>(file), where, "{} cannot be opened: {}", path_, std::strerror(errno));
  struct stat status {};
  const bool known = fstat(file.number(), &status) == 0;
  check(known, where, "{} cannot be examined: {}", path_, std::strerror(errno));
  check(S_ISREG(status.st_mode), where, "{} is not a regular file; {}", path_, needed);
  size_ = status.st_size;
  if (size_ == 0) return;  // nothing can be mapped
  void* memory = mmap(nullptr, static_cast<size_t>(size_), PROT_READ, MAP_SHARED, file.number(), 0);
  check(memory != MAP_FAILED, where, "{} ({} bytes) cannot be mapped: {}", path_, size_,
        std::strerror(errno));
  data_ = static_cast<const std::byte*>(memory);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), static_cast<size_t>(size_));
}

void MappedFile::release(int64_t begin, int64_t end) const {
  if (begin >= end) return;
  const int64_t page = sysconf(_SC_PAGESIZE);
  const int64_t first = begin / page * page;
  auto* pages = const_cast<std::byte*>(data_ + first);
  madvise(pages, static_cast<size_t>(end - first), MADV_DONTNEED);  // a hint: it may fail
}

}  // namespace switchyard
