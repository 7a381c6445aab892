#include "tests/support/stepped_files.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <csignal>
#include <cstdarg>
#include <cstdio>

namespace switchyard::test {

namespace {

int64_t counted = 0, until = 0;

void step() {
  if (gettid() != getpid()) return;  // a lease's count
  if (++counted == until) raise(SIGSTOP);
}

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

bool changes(int flags) { return (flags & (O_CREAT | O_TRUNC)) != 0; }

}  // namespace

void stop_before(int64_t operation) {
  counted = 0;
  until = operation;
}
int64_t operations() { return counted; }

}  // namespace switchyard::test

using switchyard::test::changes;
using switchyard::test::next;
using switchyard::test::step;

extern "C" {

int fstatfs(int, struct statfs* status) noexcept {
  *status = {};
  status->f_type = 0x6969;  // NFS
  return 0;
}
int succeed_always(int, int) __asm__("flock");  // fcntl.h has a struct of the name
int succeed_always(int, int) { return 0; }
int fsync(int) { return 0; }

#define SWITCHYARD_STEPPED(result, name, parameters, arguments) \
  result name parameters noexcept {                             \
    step();                                                     \
    static const auto real = next<result parameters>(#name);    \
    return real arguments;                                      \
  }
SWITCHYARD_STEPPED(int, rename, (const char* from, const char* to), (from, to))
SWITCHYARD_STEPPED(int, link, (const char* from, const char* to), (from, to))
SWITCHYARD_STEPPED(int, unlink, (const char* name), (name))
SWITCHYARD_STEPPED(int, unlinkat, (int folder, const char* name, int flags), (folder, name, flags))
SWITCHYARD_STEPPED(int, rmdir, (const char* name), (name))
SWITCHYARD_STEPPED(int, mkdir, (const char* name, mode_t mode), (name, mode))
SWITCHYARD_STEPPED(int, remove, (const char* name), (name))
#undef SWITCHYARD_STEPPED

#define SWITCHYARD_OPEN(name)                                         \
  int name(const char* file, int flags, ...) {                        \
    va_list more;                                                     \
    va_start(more, flags);                                            \
    const mode_t mode = changes(flags) ? va_arg(more, mode_t) : 0;    \
    va_end(more);                                                     \
    if (changes(flags)) step();                                       \
    static const auto real = next<int(const char*, int, ...)>(#name); \
    return real(file, flags, mode);                                   \
  }
SWITCHYARD_OPEN(open)
SWITCHYARD_OPEN(open64)
#undef SWITCHYARD_OPEN

}  // extern "C"
