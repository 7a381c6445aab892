#include "launch/path/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "core/error.h"
#include "launch/path/run_folder.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

// Its holder may have deleted the file that was waited for.
bool is_still_there(int descriptor, const fs::path& file) {
  struct stat mine {
  }, there{};
  return fstat(descriptor, &mine) == 0 && stat(file.c_str(), &there) == 0 &&
         mine.st_ino == there.st_ino && mine.st_dev == there.st_dev;
}

}  // namespace

FileLock::FileLock(const fs::path& file, std::chrono::milliseconds patience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  for (;;) {
    make_folder(file.parent_path());
    descriptor_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    const bool vanished = descriptor_ < 0 && errno == ENOENT;  // its folder, meanwhile
    check(descriptor_ >= 0 || vanished, "file", "{} cannot be opened: {}", file.string(),
          std::strerror(errno));
    const bool locked = !vanished && flock(descriptor_, LOCK_EX | LOCK_NB) == 0;
    const int cause = locked || vanished ? 0 : errno;
    if (locked && is_still_there(descriptor_, file)) return;
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = -1;
    check(cause == 0 || cause == EWOULDBLOCK, "file", "{} cannot be locked: {}", file.string(),
          std::strerror(cause));
    if (cause == EWOULDBLOCK && std::chrono::steady_clock::now() >= end) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

FileLock::~FileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace switchyard
