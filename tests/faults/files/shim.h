// A library to be preloaded: it writes down, makes fail or slows down what a program does to the
// files below one folder. All is told by variables of the environment:
//   SWITCHYARD_WATCHED  the folder: its real, absolute name
//   SWITCHYARD_TRACE    a file that the trace is appended to (trace.c)
//   SWITCHYARD_FAULT    call=CALL;nth=N;does=WHAT[;name=PART][;on] (faults.c)
//   SWITCHYARD_STATE    a file that the processes of a job count the calls of a fault in
//   SWITCHYARD_DELAY    milliseconds that each write and fsync takes longer
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { name_room = 4096, watched_files = 65536 };

// places.c: what is watched. Names are relative to the folder, "" is the folder itself.
extern char watched_folder[name_room];
const char* watched_name(int at, const char* path, char* out);  // or null
const char* name_of_open(int file, char* out);                  // or null
void watch_open(int file);
int is_watched(int file, uint64_t* inode);  // still the file that watch_open() saw
void forget_open(int file);
uint64_t inode_of(const char* name);  // 0: there is none

// trace.c
enum event {
  event_root,      // inode of the folder
  event_create,    // name, inode
  event_mkdir,     // name, inode
  event_write,     // inode, place, data
  event_truncate,  // inode, place: the new size
  event_sync,      // inode
  event_unsynced,  // inode: an fsync that failed
  event_rename,    // name, other
  event_link,      // name, other, inode
  event_unlink,    // name
  event_rmdir,     // name
  event_said       // data: what was printed
};
struct record {
  enum event kind;
  uint64_t inode;
  int64_t place;
  const char *name, *other;
  const void* data;
  size_t bytes;
};
extern int is_recording;
void begin_change(void);  // until end_change() no other process changes what is watched
void write_record(const struct record* record);
void end_change(void);

// faults.c
enum call {
  call_open,
  call_write,
  call_sync,
  call_rename,
  call_unlink,
  call_mkdir,
  call_link,
  call_truncate,
  call_read,
  calls
};
enum verdict { goes_on, fails, comes_short, dies_behind };  // fails: errno says how
enum verdict fault_at(enum call call, const char* name);
void fault_behind(enum verdict verdict);
