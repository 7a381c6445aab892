// Calls that change names.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim.h"

// One call of the system, with its fault and record. Names outside the folder are passed on.
struct change {
  enum call call;
  enum event event;
  const char *name, *other;
  long number;    // of the system's call
  long words[5];  // its arguments
};

static int make_change(struct change* change) {
  const long* w = change->words;
  if (!change->name) return (int)syscall(change->number, w[0], w[1], w[2], w[3], w[4]);
  const enum verdict verdict = fault_at(change->call, change->name);
  if (verdict == fails) return -1;
  begin_change();
  uint64_t inode = inode_of(change->name);
  const int result = (int)syscall(change->number, w[0], w[1], w[2], w[3], w[4]);
  if (change->event == event_mkdir) inode = inode_of(change->name);
  if (result == 0)
    write_record(&(struct record){
        .kind = change->event, .inode = inode, .name = change->name, .other = change->other});
  end_change();
  fault_behind(verdict);
  return result;
}

int renameat2(int from, const char* old, int to, const char* new, unsigned flags) {
  char room[2 * name_room], other[2 * name_room];
  struct change change = {call_rename,
                          event_rename,
                          watched_name(from, old, room),
                          watched_name(to, new, other),
                          SYS_renameat2,
                          {from, (long)old, to, (long)new, (long)flags}};
  return make_change(&change);
}
int renameat(int from, const char* old, int to, const char* new) {
  return renameat2(from, old, to, new, 0);
}
int rename(const char* old, const char* new) { return renameat2(AT_FDCWD, old, AT_FDCWD, new, 0); }

int linkat(int from, const char* old, int to, const char* new, int flags) {
  char room[2 * name_room], other[2 * name_room];
  struct change change = {call_link,
                          event_link,
                          watched_name(from, old, room),
                          watched_name(to, new, other),
                          SYS_linkat,
                          {from, (long)old, to, (long)new, flags}};
  return make_change(&change);
}
int link(const char* old, const char* new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }

int unlinkat(int at, const char* path, int flags) {
  char room[2 * name_room];
  struct change change = {call_unlink,
                          flags & AT_REMOVEDIR ? event_rmdir : event_unlink,
                          watched_name(at, path, room),
                          NULL,
                          SYS_unlinkat,
                          {at, (long)path, flags}};
  return make_change(&change);
}
int unlink(const char* path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char* path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char* path) {
  if (unlink(path) == 0) return 0;
  return errno == EISDIR || errno == EPERM ? rmdir(path) : -1;
}

int mkdirat(int at, const char* path, mode_t mode) {
  char room[2 * name_room];
  struct change change = {call_mkdir, event_mkdir, watched_name(at, path, room),
                          NULL,       SYS_mkdirat, {at, (long)path, (long)mode}};
  return make_change(&change);
}
int mkdir(const char* path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

// What a user reads as done: lines of the log, whichever stream they go to.
size_t fwrite(const void* data, size_t size, size_t count, FILE* stream) {
  static size_t (*real)(const void*, size_t, size_t, FILE*) = NULL;
  if (!real) *(void**)&real = dlsym(RTLD_NEXT, "fwrite");
  if (is_recording && (stream == stderr || stream == stdout)) {
    begin_change();
    write_record(&(struct record){.kind = event_said, .data = data, .bytes = size * count});
    end_change();
  }
  return real(data, size, count, stream);
}
