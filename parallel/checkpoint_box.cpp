#include "parallel/checkpoint_box.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

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

// Short runs are cheaper cut out of one larger read than read one by one, as long as not too much
// is read in vain.
constexpr int64_t short_run = 8192;
constexpr int64_t cut_buffer = int64_t{256} << 10;
constexpr int64_t most_in_vain = 32;

void read_runs(const ReadableFile& file, int64_t position, const Runs& runs, char* out) {
  const bool cut = runs.count > 1 && runs.bytes < short_run &&
                   runs.file_stride <= runs.bytes * most_in_vain && runs.file_stride < cut_buffer;
  const int64_t group = cut ? cut_buffer / runs.file_stride : 1;
  std::vector<char> buffer(cut ? static_cast<size_t>(cut_buffer) : 0);
  for (int64_t begin = 0; begin < runs.count; begin += group) {
    const int64_t from = position + begin * runs.file_stride;
    char* to = out + begin * runs.out_stride;
    if (!cut) {
      file.read(from, runs.bytes, to);
      continue;
    }
    const int64_t rows = std::min(group, runs.count - begin);
    file.read(from, (rows - 1) * runs.file_stride + runs.bytes, buffer.data());
    for (int64_t row = 0; row < rows; ++row) {
      std::memcpy(to + row * runs.out_stride, buffer.data() + row * runs.file_stride,
                  static_cast<size_t>(runs.bytes));
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

int64_t read_common(const BoxInFile& stored, const Box& wanted, int64_t element_bytes, void* out) {
  const Box common = intersection(stored.box, wanted);
  if (common.empty()) return 0;
  const Strides in_file = byte_strides(stored.box.extent, element_bytes);
  const Strides in_memory = byte_strides(wanted.extent, element_bytes);
  int64_t position = stored.address;
  auto* to = static_cast<char*>(out);
  for (size_t i = 0; i < static_cast<size_t>(common.extent.rank()); ++i) {
    const int axis = static_cast<int>(i);
    position += (common.offset[axis] - stored.box.offset[axis]) * in_file[i];
    to += (common.offset[axis] - wanted.offset[axis]) * in_memory[i];
  }
  // A run grows over the axes, innermost first, while it stays in one piece on both sides. The next
  // axis makes runs at a stride, the others are counted through.
  int axis = common.extent.rank();
  Runs runs{1, element_bytes, 0, 0};
  while (axis > 0 && in_file[static_cast<size_t>(axis - 1)] == runs.bytes &&
         in_memory[static_cast<size_t>(axis - 1)] == runs.bytes) {
    runs.bytes *= common.extent[--axis];
  }
  if (axis > 0) {
    --axis;
    runs.count = common.extent[axis];
    runs.file_stride = in_file[static_cast<size_t>(axis)];
    runs.out_stride = in_memory[static_cast<size_t>(axis)];
  }
  int64_t outer = 1;
  for (int i = 0; i < axis; ++i) outer *= common.extent[i];
  for (int64_t number = 0; number < outer; ++number) {
    int64_t rest = number, file_offset = 0, out_offset = 0;
    for (int i = axis - 1; i >= 0; --i) {
      const int64_t at = rest % common.extent[i];
      rest /= common.extent[i];
      file_offset += at * in_file[static_cast<size_t>(i)];
      out_offset += at * in_memory[static_cast<size_t>(i)];
    }
    read_runs(*stored.file, position + file_offset, runs, to + out_offset);
  }
  return common.extent.elements();
}

}  // namespace switchyard
