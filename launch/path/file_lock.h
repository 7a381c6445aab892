#pragma once

#include <chrono>
#include <filesystem>

namespace switchyard {

// A lock on a file, which is made with the folders above it; the kernel lets go of it when the
// process ends, however it ends. It waits at most `patience` for another holder; throws Error where
// the file cannot be opened or locked.
class FileLock {
 public:
  explicit FileLock(const std::filesystem::path& file, std::chrono::milliseconds patience = {});
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  bool held() const { return descriptor_ >= 0; }  // false: another one has it
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_ = -1;
};

}  // namespace switchyard
