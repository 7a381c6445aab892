// Which names and open files lie below the watched folder.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim.h"

char watched_folder[name_room];

struct open_file {
  uint64_t inode, device;
};
static struct open_file open_files[watched_files];

__attribute__((constructor(150))) static void settle_folder(void) {
  const char* folder = getenv("SWITCHYARD_WATCHED");
  if (folder) snprintf(watched_folder, sizeof watched_folder, "%s", folder);
}

// Without ".", ".." and doubled slashes; links are not followed.
static void normalize(char* path) {
  char* out = path;
  const char* in = path;
  while (*in) {
    while (*in == '/') ++in;
    const char* end = in;
    while (*end && *end != '/') ++end;
    const size_t length = (size_t)(end - in);
    if (length == 2 && in[0] == '.' && in[1] == '.') {
      while (out > path && *--out != '/') {
      }
    } else if (length > 0 && !(length == 1 && in[0] == '.')) {
      *out++ = '/';
      memmove(out, in, length);
      out += length;
    }
    in = end;
  }
  *out = '\0';
}

static const char* below_folder(const char* path, char* out) {
  const size_t length = strlen(watched_folder);
  if (length == 0 || strncmp(path, watched_folder, length) != 0) return NULL;
  if (path[length] != '/' && path[length] != '\0') return NULL;
  memmove(out, path + length + (path[length] == '/'), strlen(path + length) + (path[length] == 0));
  return out;
}

const char* name_of_open(int file, char* out) {
  char link[64], path[name_room];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  const ssize_t got = readlink(link, path, sizeof path - 1);
  if (got < 0) return NULL;
  path[got] = '\0';
  return below_folder(path, out);
}

const char* watched_name(int at, const char* path, char* out) {
  char whole[2 * name_room] = "";
  if (!path || watched_folder[0] == '\0') return NULL;
  if (path[0] != '/') {
    char link[64] = "/proc/self/cwd";
    if (at != AT_FDCWD) snprintf(link, sizeof link, "/proc/self/fd/%d", at);
    const ssize_t got = readlink(link, whole, name_room - 1);
    if (got < 0) return NULL;
    whole[got] = '/';
  }
  strncat(whole, path, name_room - 1);
  normalize(whole);
  return below_folder(whole, out);
}

// The system's calls, so that nothing here is watched itself.
static int status_of(int at, const char* path, int flags, struct stat* status) {
  return (int)syscall(SYS_newfstatat, at, path, status, flags);
}

void watch_open(int file) {
  struct stat status;
  if (file < 0 || file >= watched_files || status_of(file, "", AT_EMPTY_PATH, &status) != 0) return;
  open_files[file] = (struct open_file){status.st_ino, status.st_dev};
}

int is_watched(int file, uint64_t* inode) {
  struct stat status;
  if (file < 0 || file >= watched_files || open_files[file].inode == 0) return 0;
  const int known = status_of(file, "", AT_EMPTY_PATH, &status) == 0 &&
                    status.st_ino == open_files[file].inode &&
                    status.st_dev == open_files[file].device;
  if (!known) open_files[file].inode = 0;
  *inode = status.st_ino;
  return known;
}

void forget_open(int file) {
  if (file >= 0 && file < watched_files) open_files[file].inode = 0;
}

uint64_t inode_of(const char* name) {
  char path[2 * name_room];
  struct stat status;
  const int before = errno;
  snprintf(path, sizeof path, "%s/%s", watched_folder, name);
  const int found = status_of(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, &status) == 0;
  errno = before;
  return found ? status.st_ino : 0;
}
