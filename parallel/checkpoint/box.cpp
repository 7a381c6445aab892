#include "parallel/checkpoint/box.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

namespace switchyard {

namespace {

using Strides = std::array<int64_t, Shape::max_rank>;

Strides byte_strides(const Shape& extent, int64_t element_bytes) {
  Strides strides{};
  int64_t step = element_bytes;
  for (int i = extent.rank() - 1; i >= 0; --i) {
    strides[static_cast<size_t>(i)] = step;
    step *= extent[i];
  }
  return strides;
}

// Runs of equal length at a stride in the file, which go to memory at another stride.
struct Runs {
  int64_t count = 1;
  int64_t bytes = 0;
  int64_t file_stride = 0;
  int64_t out_stride = 0;
};

// Bytes from one place to another; an axis that `from` lacks begins at 0.
int64_t distance(const Shape& to, const Shape& from, const Strides& strides) {
  int64_t bytes = 0;
  for (int i = 0; i < to.rank(); ++i) bytes += (to[i] - from[i]) * strides[static_cast<size_t>(i)];
  return bytes;
}

// The place of element `number` of a row-major box.
Shape coordinates(int64_t number, const Shape& extent) {
  Shape at = extent;
  for (int i = extent.rank() - 1; i >= 0; --i) {
    at[i] = number % extent[i];
    number /= extent[i];
  }
  return at;
}

// A run grows over the axes, innermost first, while it stays in one piece on both sides; the next
// axis makes runs at a stride. `extent` keeps the axes that are left to be counted through.
Runs take_runs(Shape& extent, const Strides& in_file, const Strides& in_memory,
               int64_t element_bytes) {
  Runs runs{1, element_bytes, 0, 0};
  auto axis = static_cast<size_t>(extent.rank());
  while (axis > 0 && in_file[axis - 1] == runs.bytes && in_memory[axis - 1] == runs.bytes) {
    runs.bytes *= extent[static_cast<int>(--axis)];
  }
  if (axis > 0) {
    --axis;
    runs = {extent[static_cast<int>(axis)], runs.bytes, in_file[axis], in_memory[axis]};
  }
  std::array<int64_t, Shape::max_rank> left{};
  for (size_t i = 0; i < axis; ++i) left[i] = extent[static_cast<int>(i)];
  extent = Shape(std::span<const int64_t>(left.data(), axis));
  return runs;
}

// Short runs are cheaper cut out of longer parts of the file than read one by one, as long as not
// too much is read in vain.
struct Short {
  int64_t run;           // up to so many bytes
  int64_t most_in_vain;  // the stride is at most so many times as long
};
constexpr std::array short_runs{Short{8192, 32}, Short{65536, 8}};

bool is_cut(const Runs& runs) {
  return runs.count > 1 && runs.file_stride <= FileView::most_bytes / 2 &&
         std::ranges::any_of(short_runs, [&](const Short& s) {
           return runs.bytes < s.run && runs.file_stride <= runs.bytes * s.most_in_vain;
         });
}

// What lies between the runs other ranks read, through the system's cache like this one.
void cut_runs(const BoxInFile& stored, int64_t position, const Runs& runs, char* out,
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

void read_runs(const BoxInFile& stored, int64_t position, const Runs& runs, char* out,
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

Box intersection(const Box& a, const Box& b) {
  Box common = a;
  for (int i = 0; i < a.extent.rank(); ++i) {
    const int64_t begin = std::max(a.offset[i], b.offset[i]);
    const int64_t end = std::min(a.offset[i] + a.extent[i], b.offset[i] + b.extent[i]);
    common.offset[i] = begin;
    common.extent[i] = std::max<int64_t>(0, end - begin);
  }
  return common;
}

int64_t read_common(const BoxInFile& stored, const Box& wanted, int64_t element_bytes, void* out,
                    const Seen& seen) {
  const Box common = intersection(stored.box, wanted);
  if (common.empty()) return 0;
  const Strides in_file = byte_strides(stored.box.extent, element_bytes);
  const Strides in_memory = byte_strides(wanted.extent, element_bytes);
  const int64_t position = stored.address + distance(common.offset, stored.box.offset, in_file);
  char* to = static_cast<char*>(out) + distance(common.offset, wanted.offset, in_memory);
  Shape outer = common.extent;
  const Runs runs = take_runs(outer, in_file, in_memory, element_bytes);
  for (int64_t number = 0; number < outer.elements(); ++number) {
    const Shape at = coordinates(number, outer);
    read_runs(stored, position + distance(at, {}, in_file), runs, to + distance(at, {}, in_memory),
              seen);
  }
  return common.extent.elements();
}

}  // namespace switchyard
