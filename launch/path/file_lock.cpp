#include "launch/path/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "core/error.h"
#include "core/files.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

// As Lustre says without its option flock.
bool has_no_locks(int cause) { return cause == ENOSYS || cause == EOPNOTSUPP || cause == ENOLCK; }

}  // namespace

FileLock::FileLock(const fs::path& file, std::chrono::milliseconds patience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  for (;;) {
    make_folder(file.parent_path());
    Descriptor opened(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
    const bool vanished = !opened && errno == ENOENT;  // its folder, meanwhile
    check(opened || vanished, "file", "{} cannot be opened: {}", file.string(),
          std::strerror(errno));
    const int answer = vanished ? -1 : flock(opened.number(), LOCK_EX | LOCK_NB);
    by_kernel_ = answer == 0 || vanished || !has_no_locks(errno);
    const bool locked = answer == 0 || !by_kernel_;
    const int cause = locked || vanished ? 0 : errno;
    if (locked && is_named(opened, file)) {  // its holder may have deleted what was waited for
      descriptor_ = std::move(opened);
      return;
    }
    opened.close();
    check(cause == 0 || cause == EWOULDBLOCK, "file", "{} cannot be locked: {}", file.string(),
          std::strerror(cause));
    if (cause == EWOULDBLOCK && std::chrono::steady_clock::now() >= end) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

}  // namespace switchyard
