#include "launch/path/tensor_parts.h"

#include <algorithm>

namespace switchyard {

namespace {

// The first axis along which parts are cut: one index of it fits, those of the axes before do not.
int cut_axis(const Shape& shape, int64_t bytes, int64_t part_bytes) {
  int axis = 0;
  for (bytes /= shape[0]; axis + 1 < shape.rank() && bytes > part_bytes;) bytes /= shape[++axis];
  return axis;
}

}  // namespace

void for_parts(const StoredTensor& tensor, int64_t part_bytes, const PartVisitor& visit) {
  const Shape& shape = tensor.shape;
  const Box whole = Box::whole(shape);
  const int64_t bytes = shape.elements() * size_of(tensor.dtype);
  if (bytes == 0) return;
  if (shape.rank() == 0) return visit(whole, 0, bytes);
  const int axis = cut_axis(shape, bytes, part_bytes);
  int64_t outer = 1;  // places on the axes before
  for (int i = 0; i < axis; ++i) outer *= shape[i];
  const int64_t slice_bytes = bytes / outer / shape[axis];
  const int64_t most = std::max<int64_t>(1, part_bytes / slice_bytes);
  for (int64_t number = 0; number < outer; ++number) {
    Box part = whole;
    for (int64_t i = axis - 1, rest = number; i >= 0; rest /= shape[static_cast<int>(i--)]) {
      part.offset[static_cast<int>(i)] = rest % shape[static_cast<int>(i)];
      part.extent[static_cast<int>(i)] = 1;
    }
    for (int64_t at = 0; at < shape[axis]; at += most) {
      part.offset[axis] = at;
      part.extent[axis] = std::min(most, shape[axis] - at);
      const int64_t begin = (number * shape[axis] + at) * slice_bytes / size_of(tensor.dtype);
      visit(part, begin, part.extent[axis] * slice_bytes);
    }
  }
}

}  // namespace switchyard
