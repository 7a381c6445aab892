#include "core/tensor.h"

#include <fmt/ranges.h>

#include "core/error.h"

namespace switchyard {

Shape::Shape(std::initializer_list<int64_t> extents)
    : Shape(std::span<const int64_t>(extents.begin(), extents.size())) {}

Shape::Shape(std::span<const int64_t> extents) : rank_(static_cast<int>(extents.size())) {
  check(rank_ <= max_rank, "shape", "{} axes were given; at most {} are allowed", rank_, max_rank);
  for (size_t i = 0; i < extents.size(); ++i) {
    check(extents[i] >= 0, "shape", "axis {} has extent {}; extents are 0 or more", i, extents[i]);
    extents_[i] = extents[i];
  }
}

int64_t Shape::elements() const {
  int64_t product = 1;
  for (int i = 0; i < rank_; ++i) product *= (*this)[i];
  return product;
}

std::string Shape::to_string() const {
  return fmt::format("[{}]", fmt::join(extents_.begin(), extents_.begin() + rank_, ", "));
}

Tensor::Tensor(void* memory, DType type, const Shape& extents, Device where)
    : data(memory), dtype(type), device(where), shape(extents) {
  int64_t step = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    stride[static_cast<size_t>(i)] = step;
    step *= shape[i];
  }
}

bool Tensor::is_contiguous() const {
  int64_t step = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    if (shape[i] != 1 && stride[static_cast<size_t>(i)] != step) return false;
    step *= shape[i];
  }
  return true;
}

Tensor Tensor::view(const Shape& extents) const {
  require_contiguous();
  check(extents.elements() == elements(), "tensor",
        "a view of shape {} over shape {}: {} and {} "
        "elements; they must be equal",
        extents.to_string(), shape.to_string(), extents.elements(), elements());
  return Tensor(data, dtype, extents, device);
}

Tensor Tensor::slice(int axis, int64_t begin, int64_t end) const {
  check(axis >= 0 && axis < shape.rank() && 0 <= begin && begin <= end && end <= shape[axis],
        "tensor", "slice [{}, {}) of axis {} of shape {}", begin, end, axis, shape.to_string());
  Tensor part = *this;
  part.shape[axis] = end - begin;
  part.data = static_cast<char*>(data) + begin * stride[static_cast<size_t>(axis)] * size_of(dtype);
  return part;
}

void Tensor::require_dtype(DType wanted) const {
  check(dtype == wanted, "tensor", "a tensor of {} was read as {}", name_of(dtype),
        name_of(wanted));
}

void Tensor::require_contiguous() const {
  check(is_contiguous(), "tensor", "a view of shape {} is not contiguous, as is needed here",
        shape.to_string());
}

}  // namespace switchyard
