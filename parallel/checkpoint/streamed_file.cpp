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

std::error_code last_error() { return {errno, std::generic_category()}; }

std::error_code write_part(Descriptor& file, int64_t position, std::span<const std::byte> bytes,
                           bool last) {
  if (!pwrite_all(file, position, bytes)) return last_error();
  if (last) {
    return fsync(file.number()) == 0 && file.close() ? std::error_code() : last_error();
  }
  // The disk begins with this part now and has those before: where the system lets much wait, it
  // stops writers for as long. Hints, which may fail; fsync tells of errors.
  const auto size = static_cast<off64_t>(bytes.size());
  sync_file_range(file.number(), position, size, SYNC_FILE_RANGE_WRITE);
  if (position > 0) {
    sync_file_range(
        file.number(), 0, position,
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
  }
  return {};
}

}  // namespace

void StreamedFile::open(const std::filesystem::path& file) {
  path_ = file;
  file_ = std::make_shared<Descriptor>(
      ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  check(static_cast<bool>(*file_), ExitCode::storage, "safetensors", "{} cannot be made: {}",
        file.string(), std::strerror(errno));
}

void* StreamedFile::part(int64_t position, int64_t bytes) {
  const bool follows = position == begin_ + used_;
  if (used_ > 0 && (!follows || used_ + bytes > filled_.bytes())) write(false);
  if (used_ == 0) begin_ = position;
  if (filled_.bytes() < bytes) {
    filled_ = Memory();
    filled_ = Memory(std::max(bytes, buffer_bytes_), Device::cpu, "part of a safetensors file");
  }
  return static_cast<std::byte*>(filled_.data()) + std::exchange(used_, used_ + bytes);
}

void StreamedFile::close() {
  write(true);
  file_.reset();
}

// The buffers change places.
void StreamedFile::write(bool last) {
  wait();
  std::swap(filled_, written_);
  const std::span bytes(static_cast<const std::byte*>(written_.data()), static_cast<size_t>(used_));
  const auto task = [file = file_, position = begin_, bytes, last] {
    return write_part(*file, position, bytes, last);
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
