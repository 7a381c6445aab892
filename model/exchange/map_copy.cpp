#include "model/exchange/map_copy.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace switchyard {

namespace {

int64_t columns_of(const WeightMap& map) { return map.shape.rank() == 2 ? map.shape[1] : 1; }

Box rows_of(const WeightMap& map, int64_t first, int64_t count) {
  Box box = Box::whole(map.shape);
  box.offset[0] = first;
  box.extent[0] = count;
  return box;
}

template <class Element>
void transpose_typed(const std::byte* from, int64_t from_stride, std::byte* to, int64_t to_stride,
                     int64_t rows, int64_t columns) {
  constexpr int64_t tile = 32;
  const auto* in = reinterpret_cast<const Element*>(from);
  auto* out = reinterpret_cast<Element*>(to);
  for (int64_t r0 = 0; r0 < rows; r0 += tile) {
    for (int64_t c0 = 0; c0 < columns; c0 += tile) {
      for (int64_t r = r0; r < std::min(r0 + tile, rows); ++r) {
        for (int64_t c = c0; c < std::min(c0 + tile, columns); ++c) {
          std::memcpy(out + c * to_stride + r, in + r * from_stride + c, sizeof(Element));
        }
      }
    }
  }
}

// to[c][r] = from[r][c]; strides in elements.
void transpose(int64_t element_bytes, const std::byte* from, int64_t from_stride, std::byte* to,
               int64_t to_stride, int64_t rows, int64_t columns) {
  const auto typed = element_bytes == 2 ? transpose_typed<uint16_t> : transpose_typed<uint32_t>;
  typed(from, from_stride, to, to_stride, rows, columns);
}

void transpose_from_theirs(const WeightMap& map, int64_t element_bytes, const std::byte* theirs,
                           int64_t first, int64_t count, std::byte* out) {
  const int64_t columns = columns_of(map), width = map.their_shape[1];
  transpose(element_bytes, theirs + (map.first + first) * element_bytes, width, out, columns,
            columns, count);
}

// Rows of theirs are columns of ours.
void transpose_to_theirs(const WeightMap& map, int64_t element_bytes, const ReadOurs& read,
                         int64_t first, int64_t count, std::byte* out) {
  Box box = Box::whole(map.shape);
  box.offset[1] = first;
  box.extent[1] = count;
  std::vector<std::byte> ours(static_cast<size_t>(box.extent.elements() * element_bytes));
  read(map, box, ours.data());
  transpose(element_bytes, ours.data(), count, out + map.first * element_bytes, map.their_shape[1],
            map.shape[0], count);
}

}  // namespace

void copy_from_theirs(const WeightMap& map, int64_t element_bytes, const std::byte* theirs,
                      int64_t first, int64_t count, std::byte* out) {
  if (map.transposed) {
    return transpose_from_theirs(map, element_bytes, theirs, first, count, out);
  }
  const int64_t row_bytes = columns_of(map) * element_bytes;
  for (int64_t row = first; row < first + count;) {
    const int64_t rows = std::min(map.block - row % map.block, first + count - row);
    std::memcpy(out + (row - first) * row_bytes, theirs + map.their_row(row) * row_bytes,
                static_cast<size_t>(rows * row_bytes));
    row += rows;
  }
}

void copy_to_theirs(const WeightMap& map, int64_t element_bytes, const ReadOurs& read,
                    int64_t first, int64_t count, std::byte* out) {
  if (map.transposed) return transpose_to_theirs(map, element_bytes, read, first, count, out);
  const int64_t row_bytes = columns_of(map) * element_bytes;
  for (int64_t block = 0; block < map.shape[0]; block += map.block) {
    const int64_t there = map.their_row(block);
    const int64_t begin = std::max(first, there);
    const int64_t end = std::min(first + count, there + map.block);
    if (begin >= end) continue;
    read(map, rows_of(map, block + begin - there, end - begin), out + (begin - first) * row_bytes);
  }
}

}  // namespace switchyard
