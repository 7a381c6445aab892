#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "core/device.h"
#include "core/dtype.h"

namespace switchyard {

// The extents of a tensor, outermost first; at most four.
class Shape {
 public:
  static constexpr int max_rank = 4;

  Shape() = default;
  Shape(std::initializer_list<int64_t> extents);
  explicit Shape(std::span<const int64_t> extents);

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return extents_[static_cast<size_t>(i)]; }
  int64_t& operator[](int i) { return extents_[static_cast<size_t>(i)]; }
  int64_t elements() const;       // 1 for rank 0
  std::string to_string() const;  // "[2, 3]"
  friend bool operator==(const Shape&, const Shape&) = default;

 private:
  std::array<int64_t, max_rank> extents_{};
  int rank_ = 0;
};

// A view of elements in memory that somebody else owns. Strides are in elements.
struct Tensor {
  void* data = nullptr;
  DType dtype = DType::f32;
  Device device = Device::cpu;
  Shape shape;
  std::array<int64_t, Shape::max_rank> stride{};

  Tensor() = default;
  // A row-major view.
  Tensor(void* memory, DType type, const Shape& extents, Device where = Device::cpu);

  explicit operator bool() const { return data != nullptr; }
  int64_t elements() const { return shape.elements(); }
  int64_t bytes() const { return elements() * size_of(dtype); }
  bool is_contiguous() const;

  // Another shape over the same elements; needs a contiguous view and equal element counts.
  Tensor view(const Shape& extents) const;
  // Elements [begin, end) along one axis.
  Tensor slice(int axis, int64_t begin, int64_t end) const;

  // The elements as T; throws when T is not the dtype.
  template <class T>
  T* as() const {
    require_dtype(dtype_of<T>);
    return static_cast<T*>(data);
  }
  // The elements of a contiguous view.
  template <class T>
  std::span<T> span() const {
    require_dtype(dtype_of<T>);
    require_contiguous();
    return {static_cast<T*>(data), static_cast<size_t>(elements())};
  }

 private:
  void require_dtype(DType wanted) const;
  void require_contiguous() const;
};

}  // namespace switchyard
