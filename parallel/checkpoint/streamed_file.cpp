#include "parallel/checkpoint/streamed_file.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace switchyard {

void StreamedFile::open(const std::filesystem::path& file) {
  path_ = file;
  file_ = std::make_shared<DirectFile>();
  const std::error_code problem = file_->open(file, DirectFile::Begin::emptied);
  check(!problem, ExitCode::storage, "safetensors", "{} cannot be made: {}", file.string(),
        problem.message());
}

void* StreamedFile::part(int64_t position, int64_t bytes) {
  const int64_t block = DirectFile::block_bytes();
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
  const int64_t before = begin_ % DirectFile::block_bytes();
  const std::span bytes(static_cast<const std::byte*>(written_.data()) + before,
                        static_cast<size_t>(used_));
  const auto task = [file = file_, position = begin_, bytes, last] {
    const std::error_code problem = file->write(position, bytes);
    return problem || !last ? problem : file->sync_and_close();
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
