#include "data/output_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace switchyard {

namespace {
constexpr size_t buffer_bytes = size_t{1} << 20;
}

OutputFile::OutputFile(std::string path) : path_(std::move(path)), partial_(path_ + ".partial") {
  buffer_.reserve(buffer_bytes);
  open_and_lock();
}

OutputFile::~OutputFile() {
  if (file_) unlink(partial_.c_str());
}

void OutputFile::open_and_lock() {
  file_ = Descriptor(open(partial_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  check(static_cast<bool>(file_), ExitCode::storage, "tokenize", "{} cannot be created: {}",
        partial_, std::strerror(errno));
  // A file system without locks is taken as it is. The other writer may have published (renamed)
  // the file between our opening and locking it, so its name is checked afterwards.
  const bool taken = flock(file_.number(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  if (taken || !is_named(file_, partial_)) {
    file_.close();
    fail("tokenize", "{} is being written by another process; one writer at a time is allowed",
         partial_);
  }
  const bool emptied = ftruncate(file_.number(), 0) == 0;
  check(emptied, ExitCode::storage, "tokenize", "{} cannot be emptied: {}", partial_,
        std::strerror(errno));
}

void OutputFile::append(std::span<const std::byte> bytes) {
  if (buffer_.size() + bytes.size() > buffer_bytes) flush();
  if (bytes.size() >= buffer_bytes) {
    write_all(size_, bytes);
  } else {
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  }
  size_ += static_cast<int64_t>(bytes.size());
}

void OutputFile::flush() {
  write_all(size_ - static_cast<int64_t>(buffer_.size()), buffer_);
  buffer_.clear();
}

void OutputFile::write_all(int64_t offset, std::span<const std::byte> bytes) {
  const bool written = pwrite_all(file_, offset, bytes);
  check(written, ExitCode::storage, "tokenize", "{} cannot be written: {}", partial_,
        std::strerror(errno));
}

void OutputFile::write_at(int64_t offset, std::span<const std::byte> bytes) {
  flush();
  write_all(offset, bytes);
}

void OutputFile::read_at(int64_t offset, std::span<std::byte> bytes) {
  flush();
  const int64_t got = pread_all(file_, offset, bytes);
  check(got == static_cast<int64_t>(bytes.size()), ExitCode::storage, "tokenize",
        "{} cannot be read back: {}", partial_,
        got < 0 ? std::strerror(errno) : "it is shorter than what was written");
}

void OutputFile::sync() {
  flush();
  const bool synced = fsync(file_.number()) == 0;
  check(synced, ExitCode::storage, "tokenize", "{} cannot be brought to the disk: {}", partial_,
        std::strerror(errno));
}

void OutputFile::publish() {
  const bool renamed = std::rename(partial_.c_str(), path_.c_str()) == 0;
  check(renamed, ExitCode::storage, "tokenize", "{} cannot be renamed to {}: {}", partial_, path_,
        std::strerror(errno));
  file_.close();
}

}  // namespace switchyard
