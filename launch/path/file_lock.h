#pragma once

#include <chrono>
#include <filesystem>

#include "core/files.h"

namespace switchyard {

// A lock on a file, which is made with the folders above it; the kernel lets go of it when the
// process ends, however it ends. It waits at most `patience` for another holder; throws Error where
// the file cannot be opened or locked.
class FileLock {
 public:
  FileLock() = default;  // none
  explicit FileLock(const std::filesystem::path& file, std::chrono::milliseconds patience = {});

  bool held() const { return static_cast<bool>(descriptor_); }  // false: another one has it
  int descriptor() const { return descriptor_.number(); }
  // False: the file system has no flock, and whoever asks holds it.
  bool by_kernel() const { return by_kernel_; }

 private:
  Descriptor descriptor_;
  bool by_kernel_ = true;
};

}  // namespace switchyard
