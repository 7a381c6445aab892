// Preloaded, it makes a process one of another machine, SWITCHYARD_TEST_HOST, for those who share a
// disk whose locks each machine keeps for itself: flock succeeds always, and every disk is NFS.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdlib>
#include <cstring>

namespace {

const char* host() {
  const char* name = getenv("SWITCHYARD_TEST_HOST");
  return name == nullptr ? "other" : name;
}

int open_boot_id() {
  const int file = memfd_create("boot_id", MFD_CLOEXEC);
  [[maybe_unused]] const auto ignored = pwrite(file, host(), strlen(host()), 0);
  return file;
}

template <class Function>
int open_it(const char* symbol, const char* file, int flags, Function mode) {
  if (strcmp(file, "/proc/sys/kernel/random/boot_id") == 0) return open_boot_id();
  const auto real = reinterpret_cast<int (*)(const char*, int, ...)>(dlsym(RTLD_NEXT, symbol));
  return real(file, flags, mode());
}

}  // namespace

extern "C" {

int succeed_always(int, int) __asm__("flock");  // fcntl.h has a struct of the name
int succeed_always(int, int) { return 0; }

int gethostname(char* name, size_t size) noexcept {
  strncpy(name, host(), size);
  return 0;
}

int fstatfs(int, struct statfs* status) noexcept {
  *status = {};
  status->f_type = 0x6969;
  return 0;
}

#define SWITCHYARD_OPEN(symbol)                                               \
  int symbol(const char* file, int flags, ...) {                              \
    va_list more;                                                             \
    va_start(more, flags);                                                    \
    const int result = open_it(#symbol, file, flags, [&] {                    \
      return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0; \
    });                                                                       \
    va_end(more);                                                             \
    return result;                                                            \
  }
SWITCHYARD_OPEN(open)
SWITCHYARD_OPEN(open64)

}  // extern "C"
