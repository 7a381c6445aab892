// The calls themselves. What stdio writes within the C library is not seen: the program's own
// streams are C++'s, which call write() and writev().
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shim.h"

#define REAL(result, name, ...)              \
  static result (*real)(__VA_ARGS__) = NULL; \
  if (!real) *(void**)&real = dlsym(RTLD_NEXT, name)

// Opens, and says what came to be by it.
static void note_open(int file, const char* name, int existed, int flags) {
  if (file < 0) return;
  watch_open(file);
  uint64_t inode = 0;
  if (!is_watched(file, &inode)) return;
  if (!existed) {
    write_record(&(struct record){.kind = event_create, .inode = inode, .name = name});
  } else if (flags & O_TRUNC) {
    write_record(&(struct record){.kind = event_truncate, .inode = inode});
  }
}

static int changes(int flags) { return (flags & (O_CREAT | O_TRUNC)) != 0; }

static int open_watched(int (*real)(int, const char*, int, ...), int at, const char* path,
                        int flags, mode_t mode) {
  char room[2 * name_room];
  const char* name = watched_name(at, path, room);
  if (!name) return real(at, path, flags, mode);
  const enum verdict verdict = changes(flags) ? fault_at(call_open, name) : goes_on;
  if (verdict == fails) return -1;
  begin_change();
  const int existed = inode_of(name) != 0;
  const int file = real(at, path, flags, mode);
  note_open(file, name, existed, flags);
  end_change();
  fault_behind(verdict);
  return file;
}

#define MODE(flags)                      \
  mode_t mode = 0;                       \
  if ((flags) & (O_CREAT | O_TMPFILE)) { \
    va_list more;                        \
    va_start(more, flags);               \
    mode = va_arg(more, mode_t);         \
    va_end(more);                        \
  }
int openat(int at, const char* path, int flags, ...) {
  MODE(flags)
  REAL(int, "openat", int, const char*, int, ...);
  return open_watched(real, at, path, flags, mode);
}
int open(const char* path, int flags, ...) {
  MODE(flags)
  return openat(AT_FDCWD, path, flags, mode);
}
int __open_2(const char* path, int flags) { return open(path, flags); }
int __open64_2(const char* path, int flags) { return open(path, flags); }
int __openat_2(int at, const char* path, int flags) { return openat(at, path, flags); }
int __openat64_2(int at, const char* path, int flags) { return openat(at, path, flags); }
int open64(const char* path, int flags, ...) {
  MODE(flags)
  return open(path, flags, mode);
}
int openat64(int at, const char* path, int flags, ...) {
  MODE(flags)
  return openat(at, path, flags, mode);
}
int creat(const char* path, mode_t mode) { return open(path, O_WRONLY | O_CREAT | O_TRUNC, mode); }
int creat64(const char* path, mode_t mode) { return creat(path, mode); }

static FILE* open_stream(FILE* (*real)(const char*, const char*), const char* path,
                         const char* mode) {
  char room[2 * name_room];
  const char* name = strpbrk(mode, "wa+") ? watched_name(AT_FDCWD, path, room) : NULL;
  if (!name) return real(path, mode);
  const enum verdict verdict = fault_at(call_open, name);
  if (verdict == fails) return NULL;
  begin_change();
  const int existed = inode_of(name) != 0;
  FILE* stream = real(path, mode);
  if (stream) note_open(fileno(stream), name, existed, mode[0] == 'w' ? O_TRUNC : 0);
  end_change();
  fault_behind(verdict);
  return stream;
}
FILE* fopen(const char* path, const char* mode) {
  REAL(FILE*, "fopen", const char*, const char*);
  return open_stream(real, path, mode);
}
FILE* fopen64(const char* path, const char* mode) {
  REAL(FILE*, "fopen64", const char*, const char*);
  return open_stream(real, path, mode);
}

// A second number of an open file.
static int watch_copy(int file, int copy) {
  uint64_t inode = 0;
  if (copy >= 0 && is_watched(file, &inode)) watch_open(copy);
  return copy;
}
int dup(int file) {
  REAL(int, "dup", int);
  return watch_copy(file, real(file));
}
int fcntl(int file, int command, ...) {
  va_list more;
  va_start(more, command);
  void* argument = va_arg(more, void*);
  va_end(more);
  REAL(int, "fcntl", int, int, ...);
  const int result = real(file, command, argument);
  const int copies = command == F_DUPFD || command == F_DUPFD_CLOEXEC;
  return copies ? watch_copy(file, result) : result;
}
int fcntl64(int file, int command, ...) {
  va_list more;
  va_start(more, command);
  void* argument = va_arg(more, void*);
  va_end(more);
  return fcntl(file, command, argument);
}

int close(int file) {
  REAL(int, "close", int);
  forget_open(file);
  return real(file);
}

static void note_write(int file, uint64_t inode, int64_t place, const struct iovec* parts,
                       ssize_t written) {
  if (written <= 0) return;
  if (place < 0) place = lseek(file, 0, SEEK_CUR) - written;
  for (size_t left = (size_t)written; left > 0; ++parts) {
    const size_t bytes = parts->iov_len < left ? parts->iov_len : left;
    write_record(&(struct record){.kind = event_write,
                                  .inode = inode,
                                  .place = place,
                                  .data = parts->iov_base,
                                  .bytes = bytes});
    place += (int64_t)bytes;
    left -= bytes;
  }
}

// Of several parts a write that comes short has the first alone; of one its half.
static ssize_t write_watched(int file, uint64_t inode, const struct iovec* parts, int count,
                             int64_t place) {
  REAL(ssize_t, "writev", int, const struct iovec*, int);
  static ssize_t (*real_at)(int, const void*, size_t, off_t) = NULL;
  if (!real_at) *(void**)&real_at = dlsym(RTLD_NEXT, "pwrite");
  char room[2 * name_room];
  const char* name = name_of_open(file, room);
  const enum verdict verdict = fault_at(call_write, name ? name : "");
  if (verdict == fails) return -1;
  struct iovec half = parts[0];
  if (verdict == comes_short && count == 1 && half.iov_len > 1) half.iov_len /= 2;
  if (verdict == comes_short) parts = &half, count = 1;
  begin_change();
  const ssize_t written =
      place < 0 ? real(file, parts, count) : real_at(file, parts->iov_base, parts->iov_len, place);
  const int number = errno;
  note_write(file, inode, place, parts, written);
  end_change();
  errno = number;
  fault_behind(verdict);
  return written;
}

ssize_t write(int file, const void* data, size_t bytes) {
  REAL(ssize_t, "write", int, const void*, size_t);
  uint64_t inode = 0;
  if (bytes == 0 || !is_watched(file, &inode)) return real(file, data, bytes);
  const struct iovec part = {(void*)data, bytes};
  return write_watched(file, inode, &part, 1, -1);
}
ssize_t writev(int file, const struct iovec* parts, int count) {
  REAL(ssize_t, "writev", int, const struct iovec*, int);
  uint64_t inode = 0;
  if (count == 0 || !is_watched(file, &inode)) return real(file, parts, count);
  return write_watched(file, inode, parts, count, -1);
}
ssize_t pwrite(int file, const void* data, size_t bytes, off_t place) {
  REAL(ssize_t, "pwrite", int, const void*, size_t, off_t);
  uint64_t inode = 0;
  if (bytes == 0 || !is_watched(file, &inode)) return real(file, data, bytes, place);
  const struct iovec part = {(void*)data, bytes};
  return write_watched(file, inode, &part, 1, place);
}
ssize_t pwrite64(int file, const void* data, size_t bytes, off_t place) {
  return pwrite(file, data, bytes, place);
}

#define READ(symbol, real_name, more_parameters, more_arguments, ...)  \
  ssize_t symbol(int file, void* data, size_t bytes more_parameters) { \
    REAL(ssize_t, real_name, __VA_ARGS__);                             \
    uint64_t inode = 0;                                                \
    enum verdict verdict = goes_on;                                    \
    if (bytes > 0 && is_watched(file, &inode)) {                       \
      char room[2 * name_room];                                        \
      const char* name = name_of_open(file, room);                     \
      verdict = fault_at(call_read, name ? name : "");                 \
    }                                                                  \
    if (verdict == fails) return -1;                                   \
    if (verdict == comes_short && bytes > 1) bytes /= 2;               \
    const ssize_t got = real(file, data, bytes more_arguments);        \
    fault_behind(verdict);                                             \
    return got;                                                        \
  }
#define PLACE , off_t place
#define THERE , place
READ(read, "read", , , int, void*, size_t)
READ(pread, "pread", PLACE, THERE, int, void*, size_t, off_t)
READ(pread64, "pread", PLACE, THERE, int, void*, size_t, off_t)

static int change_size(int (*real)(int, off_t), int file, off_t size) {
  uint64_t inode = 0;
  if (!is_watched(file, &inode)) return real(file, size);
  char room[2 * name_room];
  const char* name = name_of_open(file, room);
  const enum verdict verdict = fault_at(call_truncate, name ? name : "");
  if (verdict == fails) return -1;
  begin_change();
  const int result = real(file, size);
  if (result == 0)
    write_record(&(struct record){.kind = event_truncate, .inode = inode, .place = size});
  end_change();
  fault_behind(verdict);
  return result;
}
int ftruncate(int file, off_t size) {
  REAL(int, "ftruncate", int, off_t);
  return change_size(real, file, size);
}
int ftruncate64(int file, off_t size) { return ftruncate(file, size); }

// Room that is set aside is zeros up to the new end.
int fallocate(int file, int mode, off_t place, off_t bytes) {
  REAL(int, "fallocate", int, int, off_t, off_t);
  uint64_t inode = 0;
  if (!is_watched(file, &inode)) return real(file, mode, place, bytes);
  errno = EOPNOTSUPP;  // not recorded: whoever writes goes on without it
  return -1;
}
int fallocate64(int file, int mode, off_t place, off_t bytes) {
  return fallocate(file, mode, place, bytes);
}
int posix_fallocate(int file, off_t place, off_t bytes) {
  REAL(int, "posix_fallocate", int, off_t, off_t);
  uint64_t inode = 0;
  return is_watched(file, &inode) ? EOPNOTSUPP : real(file, place, bytes);
}

// Copies within the kernel: whoever is refused reads and writes.
#define COPY(symbol, result, out, ...)               \
  result symbol(__VA_ARGS__) {                       \
    uint64_t inode = 0;                              \
    REAL(result, #symbol, __VA_ARGS__);              \
    if (!is_watched(out, &inode)) return real(CALL); \
    errno = EINVAL;                                  \
    return -1;                                       \
  }
#define CALL to, from, place, bytes
COPY(sendfile, ssize_t, to, int to, int from, off_t* place, size_t bytes)
COPY(sendfile64, ssize_t, to, int to, int from, off_t* place, size_t bytes)
#undef CALL
#define CALL from, place, to, there, bytes, flags
COPY(copy_file_range, ssize_t, to, int from, off_t* place, int to, off_t* there, size_t bytes,
     unsigned flags)
#undef CALL

// Behind an fsync that failed the system takes what was not written for written.
static int sync_watched(int (*real)(int), int file) {
  uint64_t inode = 0;
  if (!is_watched(file, &inode)) return real(file);
  char room[2 * name_room];
  const char* name = name_of_open(file, room);
  const enum verdict verdict = fault_at(call_sync, name ? name : "");
  const int number = errno;
  begin_change();
  const int result = verdict == fails ? -1 : 0;  // no disk is asked: it would only take time
  write_record(
      &(struct record){.kind = verdict == fails ? event_unsynced : event_sync, .inode = inode});
  end_change();
  errno = number;
  fault_behind(verdict);
  return result;
}
int fsync(int file) {
  REAL(int, "fsync", int);
  return sync_watched(real, file);
}
int fdatasync(int file) {
  REAL(int, "fdatasync", int);
  return sync_watched(real, file);
}
