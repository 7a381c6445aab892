#include "core/sharded_tensor.h"

#include <algorithm>

#include "core/error.h"

namespace switchyard {

Box Box::whole(const Shape& global) {
  Box box{.offset = global, .extent = global};
  for (int axis = 0; axis < global.rank(); ++axis) box.offset[axis] = 0;
  return box;
}

namespace {

Box vector_range(const Box& part, int64_t begin, int64_t end) {
  return {.offset = {part.offset[0] + begin}, .extent = {end - begin}};
}

// Rows [row, row + rows) and columns [column, column + columns) of a matrix part.
Box matrix_range(const Box& part, int64_t row, int64_t rows, int64_t column, int64_t columns) {
  return {.offset = {part.offset[0] + row, part.offset[1] + column}, .extent = {rows, columns}};
}

}  // namespace

std::vector<Box> boxes_of_flat_range(const Box& part, int64_t begin, int64_t end) {
  const int rank = part.extent.rank();
  check((rank == 1 || rank == 2) && part.offset.rank() == rank, "boxes_of_flat_range",
        "a box with offset {} and extent {}; 1 or 2 axes in both are allowed",
        part.offset.to_string(), part.extent.to_string());
  check(begin >= 0 && begin <= end && end <= part.extent.elements(), "boxes_of_flat_range",
        "elements [{}, {}) of a box of {}; begin <= end within it is needed", begin, end,
        part.extent.elements());
  if (begin == end) return {};
  if (rank == 1) return {vector_range(part, begin, end)};

  const int64_t columns = part.extent[1];
  std::vector<Box> boxes;
  if (const int64_t column = begin % columns; column != 0) {
    const int64_t count = std::min(columns - column, end - begin);
    boxes.push_back(matrix_range(part, begin / columns, 1, column, count));
    begin += count;
  }
  if (const int64_t rows = (end - begin) / columns; rows > 0) {
    boxes.push_back(matrix_range(part, begin / columns, rows, 0, columns));
    begin += rows * columns;
  }
  if (begin < end) boxes.push_back(matrix_range(part, begin / columns, 1, 0, end - begin));
  return boxes;
}

}  // namespace switchyard
