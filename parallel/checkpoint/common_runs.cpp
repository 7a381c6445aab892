#include "parallel/checkpoint/common_runs.h"

#include <algorithm>
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
EvenRuns take_runs(Shape& extent, const Strides& in_file, const Strides& in_memory,
                   int64_t element_bytes) {
  EvenRuns runs{1, element_bytes, 0, 0};
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

CommonRuns::CommonRuns(const Box& stored, const Box& wanted, int64_t element_bytes)
    : in_file_(byte_strides(stored.extent, element_bytes)),
      in_memory_(byte_strides(wanted.extent, element_bytes)) {
  const Box common = intersection(stored, wanted);
  elements_ = common.extent.elements();
  if (elements_ == 0) return;
  first_ = {distance(common.offset, stored.offset, in_file_),
            distance(common.offset, wanted.offset, in_memory_)};
  outer_ = common.extent;
  runs_ = take_runs(outer_, in_file_, in_memory_, element_bytes);
}

CommonRuns::Place CommonRuns::begin_of(int64_t group) const {
  const Shape at = coordinates(group, outer_);
  return {first_.in_file + distance(at, {}, in_file_),
          first_.in_memory + distance(at, {}, in_memory_)};
}

CommonRuns::Place CommonRuns::place_of(int64_t run) const {
  Place place = begin_of(run / runs_.count);
  place.in_file += run % runs_.count * runs_.file_stride;
  place.in_memory += run % runs_.count * runs_.out_stride;
  return place;
}

int64_t CommonRuns::begin() const { return first_.in_file; }

int64_t CommonRuns::end() const {
  return groups() == 0 ? 0 : place_of(groups() * runs_.count - 1).in_file + runs_.bytes;
}

int64_t CommonRuns::first_behind(int64_t byte) const {
  int64_t low = 0, high = groups() * runs_.count;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    place_of(middle).in_file + runs_.bytes > byte ? high = middle : low = middle + 1;
  }
  return low;
}

bool CommonRuns::touches(int64_t from, int64_t to) const {
  const int64_t run = first_behind(from);
  return run < groups() * runs_.count && place_of(run).in_file < to;
}

void CommonRuns::copy(int64_t from, int64_t to, const std::byte* bytes, void* out) const {
  const int64_t all = groups() * runs_.count;
  for (int64_t run = first_behind(from); run < all;) {
    Place place = place_of(run);
    if (place.in_file >= to) return;
    const int64_t rest = runs_.count - run % runs_.count;
    for (int64_t i = 0; i < rest && place.in_file < to; ++i, ++run) {
      const int64_t first = std::max(from, place.in_file);
      const int64_t last = std::min(to, place.in_file + runs_.bytes);
      std::memcpy(static_cast<char*>(out) + place.in_memory + (first - place.in_file),
                  bytes + (first - from), static_cast<size_t>(last - first));
      place.in_file += runs_.file_stride;
      place.in_memory += runs_.out_stride;
    }
  }
}

}  // namespace switchyard
