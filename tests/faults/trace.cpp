#include "tests/faults/trace.h"

#include <cstring>
#include <iterator>

#include "core/error.h"
#include "core/files.h"

namespace switchyard::test {

namespace {

struct Header {
  uint32_t change, process;
  uint64_t inode;
  int64_t place;
  uint32_t name, other;
  uint64_t data;
};
static_assert(sizeof(Header) == 40);

std::string_view take(std::string_view& rest, size_t bytes) {
  check(rest.size() >= bytes, "test", "the trace ends within a record");
  const std::string_view taken = rest.substr(0, bytes);
  rest.remove_prefix(bytes);
  return taken;
}

}  // namespace

std::string_view name_of(Change change) {
  constexpr std::string_view names[] = {"root",     "create", "mkdir",    "write",
                                        "truncate", "sync",   "unsynced", "rename",
                                        "link",     "unlink", "rmdir",    "said"};
  const auto at = static_cast<size_t>(change);
  check(at < std::size(names), "test", "the trace has a change of an unknown kind, {}", at);
  return names[at];
}

void read_trace(const std::filesystem::path& file, Trace& trace) {
  trace.bytes = read_file(file);
  std::string_view rest = trace.bytes;
  while (!rest.empty()) {
    Header header{};
    std::memcpy(&header, take(rest, sizeof header).data(), sizeof header);
    Event event{.change = static_cast<Change>(header.change),
                .inode = header.inode,
                .place = header.place,
                .name = std::string(take(rest, header.name)),
                .other = std::string(take(rest, header.other)),
                .data = {}};
    event.data = take(rest, header.data);
    trace.events.push_back(std::move(event));
  }
}

}  // namespace switchyard::test
