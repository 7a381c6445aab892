#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::test {

// What files/trace.c has written down: changes of a folder, in the order in which they were made.
enum class Change : uint32_t {
  root,
  create,
  mkdir,
  write,
  truncate,
  sync,
  unsynced,  // an fsync that failed
  rename,
  link,
  unlink,
  rmdir,
  said  // a line that was printed
};
std::string_view name_of(Change change);

struct Event {
  Change change = Change::root;
  uint64_t inode = 0;
  int64_t place = 0;        // of a write; the size of a truncate
  std::string name, other;  // relative to the folder
  std::string_view data;    // of the trace's bytes
};

struct Trace {
  std::string bytes;
  std::vector<Event> events;
};
// Not to be moved: the events look into the bytes.
void read_trace(const std::filesystem::path& file, Trace& trace);

}  // namespace switchyard::test
