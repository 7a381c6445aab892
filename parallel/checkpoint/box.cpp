#include "parallel/checkpoint/box.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace switchyard {

namespace {

// Short runs are cheaper cut out of longer parts of the file than read one by one, as long as not
// too much is read in vain.
struct Short {
  int64_t run;           // up to so many bytes
  int64_t most_in_vain;  // the stride is at most so many times as long
};
constexpr std::array short_runs{Short{8192, 32}, Short{65536, 8}};

bool is_cut(const EvenRuns& runs) {
  return runs.count > 1 && runs.file_stride <= FileView::most_bytes / 2 &&
         std::ranges::any_of(short_runs, [&](const Short& s) {
           return runs.bytes < s.run && runs.file_stride <= runs.bytes * s.most_in_vain;
         });
}

// What lies between the runs other ranks read, through the system's cache like this one.
void cut_runs(const BoxInFile& stored, int64_t position, const EvenRuns& runs, char* out,
              const Seen& seen) {
  const bool all = runs.file_stride == runs.bytes;
  FileView own;
  FileView& view = stored.view == nullptr ? own : *stored.view;
  const int64_t group = FileView::most_bytes / runs.file_stride;
  for (int64_t begin = 0; begin < runs.count; begin += group) {
    const int64_t rows = std::min(group, runs.count - begin);
    const int64_t from = position + begin * runs.file_stride;
    const bool last = begin + rows == runs.count;
    const int64_t bytes =
        last ? (rows - 1) * runs.file_stride + runs.bytes : rows * runs.file_stride;
    const std::byte* const found =
        view.at(*stored.file, from, from + bytes, all ? stored.way : ReadWay::cached);
    if (seen) seen(from - stored.address, found, bytes);
    for (int64_t row = 0; row < rows; ++row)
      std::memcpy(out + (begin + row) * runs.out_stride, found + row * runs.file_stride,
                  static_cast<size_t>(runs.bytes));
  }
}

// What is done with bytes that were read is done while they are in a core's cache. Past the
// system's cache reads end at multiples of this in the file, so that all but the first and the last
// of a run are of whole blocks.
constexpr int64_t long_read(ReadWay way) { return int64_t{way == ReadWay::direct ? 2 : 1} << 20; }

void read(const BoxInFile& stored, int64_t position, int64_t bytes, void* out) {
  if (stored.window == nullptr) return stored.file->read(position, bytes, out, stored.way);
  stored.window->read(*stored.file, position, bytes, out, stored.way);
}

void read_runs(const BoxInFile& stored, int64_t position, const EvenRuns& runs, char* out,
               const Seen& seen) {
  if (is_cut(runs)) return cut_runs(stored, position, runs, out, seen);
  for (int64_t number = 0; number < runs.count; ++number) {
    const int64_t from = position + number * runs.file_stride;
    char* const to = out + number * runs.out_stride;
    for (int64_t at = 0, bytes = 0; at < runs.bytes; at += bytes) {
      const int64_t most = long_read(stored.way);
      bytes = std::min(most - (from + at) % most, runs.bytes - at);
      read(stored, from + at, bytes, to + at);
      if (seen) seen(from + at - stored.address, to + at, bytes);
    }
  }
}

}  // namespace

int64_t read_common(const BoxInFile& stored, const Box& wanted, int64_t element_bytes, void* out,
                    const Seen& seen) {
  const CommonRuns common(stored.box, wanted, element_bytes);
  const EvenRuns& runs = common.even();
  for (int64_t group = 0; group < common.groups(); ++group) {
    const auto begin = common.begin_of(group);
    read_runs(stored, stored.address + begin.in_file, runs,
              static_cast<char*>(out) + begin.in_memory, seen);
  }
  return common.elements();
}

}  // namespace switchyard
