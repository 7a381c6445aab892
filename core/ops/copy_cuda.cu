#include <algorithm>
#include <bit>

#include "core/cuda/walk_rows.h"
#include "core/ops/backends.h"

namespace switchyard::ops {

namespace {

using namespace switchyard::cuda;

// A copy as dense rows over at most three axes around them, in bytes and later in units.
struct CopyAxes {
  struct Axis {
    int64_t extent = 1, from_stride = 0, to_stride = 0;
  };
  Axis axes[Shape::max_rank];  // innermost first: axes[0] is the dense row
  int count = 0;
};

// Axes without those of extent 1; neighbours that both sides step through alike become one.
CopyAxes copy_axes(const Tensor& from, const Tensor& to) {
  const int64_t size = size_of(from.dtype);
  CopyAxes result;
  result.axes[result.count++] = {size, 1, 1};
  for (int axis = from.shape.rank() - 1; axis >= 0; --axis) {
    const int64_t extent = from.shape[axis];
    const auto at = static_cast<size_t>(axis);
    if (extent == 1) continue;
    const int64_t from_stride = from.stride[at] * size, to_stride = to.stride[at] * size;
    CopyAxes::Axis& inner = result.axes[result.count - 1];
    if (from_stride == inner.extent * inner.from_stride &&
        to_stride == inner.extent * inner.to_stride) {
      inner.extent *= extent;
    } else {
      result.axes[result.count++] = {extent, from_stride, to_stride};
    }
  }
  return result;
}

// Copies the rows of axes 1 to 3; strides and extents of the row are in units.
template <class Unit>
__global__ void copy_rows_kernel(RowWalk walk, const Unit* from, Unit* to, CopyAxes::Axis rows,
                                 CopyAxes::Axis middle, CopyAxes::Axis outer) {
  for (int64_t z = blockIdx.z; z < middle.extent * outer.extent; z += gridDim.z) {
    const int64_t o = z / middle.extent, m = z % middle.extent;
    const Unit* source = from + o * outer.from_stride + m * middle.from_stride;
    Unit* target = to + o * outer.to_stride + m * middle.to_stride;
    walk_rows<1>(
        walk, [=]<int n>(int64_t row, int64_t i) { return source[row * rows.from_stride + i]; },
        [=]<int n>(int64_t row, int64_t i, Unit unit) { target[row * rows.to_stride + i] = unit; });
  }
}

template <class Unit>
void copy_rows(const Context& context, const Tensor& from, const Tensor& to, CopyAxes axes) {
  constexpr auto size = static_cast<int64_t>(sizeof(Unit));
  axes.axes[0].extent /= size;
  for (int i = 1; i < axes.count; ++i) {
    axes.axes[i].from_stride /= size;
    axes.axes[i].to_stride /= size;
  }
  RowWalk walk = row_walk(axes.axes[1].extent, axes.axes[0].extent, 1);
  walk.shape.z = std::min(axes.axes[2].extent * axes.axes[3].extent, most_blocks_yz);
  launch_walk("copy", copy_rows_kernel<Unit>, walk, context.stream,
              static_cast<const Unit*>(from.data), static_cast<Unit*>(to.data), axes.axes[1],
              axes.axes[2], axes.axes[3]);
}

// The widest unit, up to 16 bytes, that all rows consist of and begin at a multiple of.
int unit_bytes(const Tensor& from, const Tensor& to, const CopyAxes& axes) {
  uint64_t all = std::bit_cast<uint64_t>(from.data) | std::bit_cast<uint64_t>(to.data) | 16u |
                 static_cast<uint64_t>(axes.axes[0].extent);
  for (int i = 1; i < axes.count; ++i) {
    all |= static_cast<uint64_t>(axes.axes[i].from_stride | axes.axes[i].to_stride);
  }
  return 1 << std::countr_zero(all);
}

}  // namespace

void cuda::copy(const Context& context, const Tensor& from, const Tensor& to) {
  if (from.elements() == 0) return;
  const CopyAxes axes = from.is_contiguous() && to.is_contiguous()
                            ? CopyAxes{{{from.bytes(), 1, 1}}, 1}
                            : copy_axes(from, to);
  if (axes.count == 1) return copy_bytes(to.data, from.data, axes.axes[0].extent, context.stream);
  switch (unit_bytes(from, to, axes)) {
    case 16:
      return copy_rows<uint4>(context, from, to, axes);
    case 8:
      return copy_rows<uint64_t>(context, from, to, axes);
    case 4:
      return copy_rows<uint32_t>(context, from, to, axes);
    case 2:
      return copy_rows<uint16_t>(context, from, to, axes);
    default:
      return copy_rows<uint8_t>(context, from, to, axes);
  }
}

}  // namespace switchyard::ops
