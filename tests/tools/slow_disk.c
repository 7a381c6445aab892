// Preloaded: a disk whose every fsync takes SLOW_DISK_MILLISECONDS, fails for what has
// SLOW_DISK_FAILS in its name, and waits for what has SLOW_DISK_WAITS in it until there is a file
// SLOW_DISK_UNTIL.
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int concerns(const char* variable, int descriptor) {
  const char* part = getenv(variable);
  char link[64], name[4096];
  if (!part) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const ssize_t length = readlink(link, name, sizeof name - 1);
  if (length < 0) return 0;
  name[length] = 0;
  return strstr(name, part) != NULL;
}

static void wait_for_file(void) {
  const char* until = getenv("SLOW_DISK_UNTIL");
  const struct timespec pause = {0, 20000000};
  while (until && access(until, F_OK) != 0) nanosleep(&pause, NULL);
}

int fsync(int descriptor) {
  const char* text = getenv("SLOW_DISK_MILLISECONDS");
  const long milliseconds = text ? atol(text) : 0;
  const struct timespec pause = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  nanosleep(&pause, NULL);
  if (concerns("SLOW_DISK_WAITS", descriptor)) wait_for_file();
  if (concerns("SLOW_DISK_FAILS", descriptor)) {
    errno = EIO;
    return -1;
  }
  return (int)syscall(SYS_fsync, descriptor);
}
