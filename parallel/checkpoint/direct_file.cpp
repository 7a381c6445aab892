#include "parallel/checkpoint/direct_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace switchyard {

namespace {

std::error_code last_error() { return {errno, std::generic_category()}; }

}  // namespace

int64_t DirectFile::block_bytes() {
  static const int64_t bytes = std::max<int64_t>(4096, sysconf(_SC_PAGESIZE));
  return bytes;
}

std::error_code DirectFile::open(const std::filesystem::path& file, Begin begin) {
  path_ = file;
  const int making = begin == Begin::emptied ? O_CREAT | O_TRUNC : 0;
  cached_ = Descriptor(::open(file.c_str(), O_WRONLY | O_CLOEXEC | making, 0666));
  if (!cached_) return last_error();
  direct_ = Descriptor(::open(file.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC));  // or none
  return {};
}

// What cannot go past the cache (larger blocks of the disk, memory elsewhere) goes through it.
std::error_code DirectFile::write(int64_t position, std::span<const std::byte> bytes) const {
  const int64_t block = block_bytes();
  const int64_t end = position + static_cast<int64_t>(bytes.size());
  const int64_t first = std::min((position + block - 1) / block * block, end);
  const int64_t last = std::max(end / block * block, first);
  const auto between = [&](int64_t a, int64_t b) {
    return bytes.subspan(static_cast<size_t>(a - position), static_cast<size_t>(b - a));
  };
  const bool direct = direct_ && pwrite_all(direct_, first, between(first, last));
  if (!direct && !pwrite_all(cached_, first, between(first, last))) return last_error();
  const bool rest = pwrite_all(cached_, position, between(position, first)) &&
                    pwrite_all(cached_, last, between(last, end));
  return rest ? std::error_code() : last_error();
}

std::error_code DirectFile::take_room(int64_t begin, int64_t end) const {
  while (fallocate(cached_.number(), 0, begin, end - begin) != 0) {
    if (errno == EINTR) continue;
    const bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
    return full ? last_error() : std::error_code();  // not every file system can
  }
  return {};
}

std::error_code DirectFile::sync_and_close() {
  direct_.close();
  return fsync(cached_.number()) == 0 && cached_.close() ? std::error_code() : last_error();
}

}  // namespace switchyard
