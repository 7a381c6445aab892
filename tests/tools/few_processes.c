// Preloaded: of what fork() is asked for only the first is given, as behind a low 'ulimit -u',
// which does not hold for root.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static atomic_int asked;

pid_t fork(void) {
  if (atomic_fetch_add(&asked, 1) > 0) {
    errno = EAGAIN;
    return -1;
  }
  pid_t (*given)(void);
  void* const found = dlsym(RTLD_NEXT, "fork");
  memcpy(&given, &found, sizeof given);
  return given();
}
