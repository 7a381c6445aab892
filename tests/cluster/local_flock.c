/* Preloaded, it makes of the nodes' file system one whose flock each node keeps for itself (NFS with
   local_lock): on one machine, none at all. */
#define _GNU_SOURCE
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

int flock(int descriptor, int operation) {
  (void)descriptor;
  (void)operation;
  return 0;
}

int fstatfs(int descriptor, struct statfs* found) {
  const long failed = syscall(SYS_fstatfs, descriptor, found);
  if (failed == 0) found->f_type = 0x6969;
  return (int)failed;
}

int fstatfs64(int descriptor, struct statfs64* found) {
  return fstatfs(descriptor, (struct statfs*)found);
}
