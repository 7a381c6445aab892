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

int64_t DirectFile::blocks_up_to(int64_t bytes) {
  return (bytes + block_bytes() - 1) / block_bytes() * block_bytes();
}

std::pair<int64_t, int64_t> DirectFile::blocks_in(int64_t begin, int64_t end) {
  const int64_t first = blocks_up_to(begin), last = end / block_bytes() * block_bytes();
  return first < last ? std::pair(first, last) : std::pair(end, end);
}

// What cannot go past the cache (larger blocks of the disk, memory elsewhere) goes through it.
std::error_code DirectFile::write(int64_t position, std::span<const std::byte> bytes) const {
  const int64_t end = position + static_cast<int64_t>(bytes.size());
  const auto [first, last] = blocks_in(position, end);
  const auto before = static_cast<size_t>(first - position);
  const auto middle = bytes.subspan(before, static_cast<size_t>(last - first));
  if (!direct_ || !pwrite_all(direct_, first, middle)) {
    if (!pwrite_all(cached_, first, middle)) return last_error();
  }
  const std::error_code problem = write_cached(position, bytes.first(before));
  return problem ? problem : write_cached(last, bytes.subspan(before + middle.size()));
}

std::error_code DirectFile::write_cached(int64_t position, std::span<const std::byte> bytes) const {
  return pwrite_all(cached_, position, bytes) ? std::error_code() : last_error();
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
