// The trace: records one behind the other, in the order in which the changes were made, whichever
// process made them. All numbers are little-endian: u32 kind, u32 process, u64 inode, i64 place,
// u32 bytes of name, u32 bytes of other, u64 bytes of data; then name, other, data.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shim.h"

int is_recording = 0;

static int trace = -1;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static void lock_trace(short type) {
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET};
  while (syscall(SYS_fcntl, trace, F_OFD_SETLKW, &lock) != 0 && errno == EINTR) {
  }
}

void begin_change(void) {
  if (!is_recording) return;
  pthread_mutex_lock(&turn);
  lock_trace(F_WRLCK);
}

void end_change(void) {
  if (!is_recording) return;
  const int before = errno;
  lock_trace(F_UNLCK);
  pthread_mutex_unlock(&turn);
  errno = before;
}

struct header {
  uint32_t kind, process;
  uint64_t inode;
  int64_t place;
  uint32_t name, other;
  uint64_t data;
};

void write_record(const struct record* record) {
  if (!is_recording) return;
  const int before = errno;
  const char* name = record->name ? record->name : "";
  const char* other = record->other ? record->other : "";
  struct header header = {(uint32_t)record->kind, (uint32_t)getpid(),     record->inode,
                          record->place,          (uint32_t)strlen(name), (uint32_t)strlen(other),
                          (uint64_t)record->bytes};
  const struct iovec parts[] = {{&header, sizeof header},
                                {(void*)name, header.name},
                                {(void*)other, header.other},
                                {(void*)record->data, record->bytes}};
  const ssize_t all = (ssize_t)(sizeof header + header.name + header.other + record->bytes);
  if (syscall(SYS_writev, trace, parts, 4) != all) abort();  // a trace with holes proves nothing
  errno = before;
}

// A descriptor that no program closes by a loop over the small ones.
__attribute__((constructor(200))) static void open_trace(void) {
  const char* file = getenv("SWITCHYARD_TRACE");
  if (!file || watched_folder[0] == '\0') return;
  const int low =
      (int)syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  trace = (int)syscall(SYS_fcntl, low, F_DUPFD_CLOEXEC, 900);
  syscall(SYS_close, low);
  if (trace < 0) abort();
  is_recording = 1;
  begin_change();
  write_record(&(struct record){.kind = event_root, .inode = inode_of("")});
  end_change();
}
