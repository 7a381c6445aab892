#include "parallel/checkpoint/streamed_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace switchyard {

namespace {

constexpr int64_t block = 4096;  // bytes; files of larger ones go through the cache

std::error_code last_error() { return {errno, std::generic_category()}; }

// Whole blocks go past the system's cache, where the file system has that: it is twice as fast and
// leaves the cache alone. `bytes` lie in memory as far behind a block's begin as in the file.
std::error_code write_part(const OpenFile& file, int64_t position,
                           std::span<const std::byte> bytes) {
  const int64_t end = position + static_cast<int64_t>(bytes.size());
  const int64_t first = std::min((position + block - 1) / block * block, end);
  const int64_t last = std::max(end / block * block, first);
  const auto between = [&](int64_t a, int64_t b) {
    return bytes.subspan(static_cast<size_t>(a - position), static_cast<size_t>(b - a));
  };
  const bool direct = file.direct && pwrite_all(file.direct, first, between(first, last));
  if (!direct && !pwrite_all(file.cached, first, between(first, last))) return last_error();
  const bool rest = pwrite_all(file.cached, position, between(position, first)) &&
                    pwrite_all(file.cached, last, between(last, end));
  return rest ? std::error_code() : last_error();
}

std::error_code finish(OpenFile& file) {
  file.direct.close();
  return fsync(file.cached.number()) == 0 && file.cached.close() ? std::error_code() : last_error();
}

}  // namespace

void StreamedFile::open(const std::filesystem::path& file) {
  path_ = file;
  file_ = std::make_shared<OpenFile>();
  file_->cached = Descriptor(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  check(static_cast<bool>(file_->cached), ExitCode::storage, "safetensors", "{} cannot be made: {}",
        file.string(), std::strerror(errno));
  file_->direct = Descriptor(::open(file.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC));  // or none
}

void* StreamedFile::part(int64_t position, int64_t bytes) {
  const bool follows = position == begin_ + used_;
  if (used_ > 0 && (!follows || begin_ % block + used_ + bytes > filled_.bytes())) write(false);
  if (used_ == 0) {
    begin_ = position;
    if (filled_.bytes() < block + bytes) {
      filled_ = Memory();
      filled_ =
          Memory(block + std::max(bytes, buffer_bytes_), Device::cpu, "part of a safetensors file");
    }
  }
  return static_cast<std::byte*>(filled_.data()) + begin_ % block +
         std::exchange(used_, used_ + bytes);
}

void StreamedFile::close() {
  write(true);
  file_.reset();
}

// The buffers change places.
void StreamedFile::write(bool last) {
  wait();
  std::swap(filled_, written_);
  const std::span bytes(static_cast<const std::byte*>(written_.data()) + begin_ % block,
                        static_cast<size_t>(used_));
  const auto task = [file = file_, position = begin_, bytes, last] {
    const std::error_code problem = write_part(*file, position, bytes);
    return problem || !last ? problem : finish(*file);
  };
  writing_ = path_;
  written_well_ = std::async(std::launch::async, task);
  used_ = 0;
}

void StreamedFile::wait() {
  if (!written_well_.valid()) return;
  const std::error_code problem = written_well_.get();
  check(!problem, ExitCode::storage, "safetensors", "{} cannot be written: {}", writing_.string(),
        problem.message());
}

}  // namespace switchyard
