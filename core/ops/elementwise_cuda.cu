#include <type_traits>

#include "core/cuda/walk_rows.h"
#include "core/ops/backends.h"
#include "core/ops/elementwise.h"

namespace switchyard::ops {

namespace {

using namespace switchyard::cuda;

template <class T, int width>
__global__ void fill_kernel(RowWalk walk, T* x, T value) {
  walk_rows<width>(
      walk,
      [=]<int n>(int64_t, int64_t) {
        Group<T, n> group;
        for (int j = 0; j < n; ++j) group[j] = value;
        return group;
      },
      [=]<int n>(int64_t, int64_t i, Group<T, n> group) { store_group(x + i, group); });
}

template <class T, int n>
struct Pair {
  Group<T, n> x, y;
};

// `sum` may be x or y.
template <class T, int width>
__global__ void add_kernel(RowWalk walk, const T* x, const T* y, T* sum) {
  walk_rows<width>(
      walk,
      [=]<int n>(int64_t, int64_t i) {
        return Pair<T, n>{load_group<n>(x + i), load_group<n>(y + i)};
      },
      [=]<int n>(int64_t, int64_t i, Pair<T, n> pair) {
        for (int j = 0; j < n; ++j) {
          pair.x[j] = from_float<T>(to_float(pair.x[j]) + to_float(pair.y[j]));
        }
        store_group(sum + i, pair.x);
      });
}

template <class From, class To, int width>
__global__ void cast_kernel(RowWalk walk, const From* from, To* to) {
  walk_rows<width>(
      walk, [=]<int n>(int64_t, int64_t i) { return load_group<n>(from + i); },
      [=]<int n>(int64_t, int64_t i, Group<From, n> group) {
        Group<To, n> result;
        for (int j = 0; j < n; ++j) result[j] = from_float<To>(to_float(group[j]));
        store_group(to + i, result);
      });
}

template <class T>
__global__ void iota_kernel(T* x, int64_t first, int64_t n) {
  for (int64_t i = thread_index(); i < n; i += thread_count()) x[i] = static_cast<T>(first + i);
}

template <class T>
void fill_as(const Context& context, const Tensor& x, float value) {
  with_width<T>(takes_packs<T>(x.data, 0), [&]<int width>() {
    launch_walk("fill", fill_kernel<T, width>, flat_walk(x.elements(), width), context.stream,
                x.as<T>(), static_cast<T>(value));
  });
}

template <class From, class To>
void cast_as(const Context& context, const Tensor& from, const Tensor& to) {
  const bool packs = takes_packs<From>(from.data, 0) && takes_packs<To>(to.data, 0);
  with_width<bf16>(packs, [&]<int width>() {
    launch_walk("cast", cast_kernel<From, To, width>, flat_walk(from.elements(), width),
                context.stream, from.as<From>(), to.as<To>());
  });
}

}  // namespace

void cuda::fill(const Context& context, const Tensor& x, float value) {
  if (x.dtype == DType::f64) return fill_as<double>(context, x, value);
  with_floating(x.dtype, [&]<class T>() { fill_as<T>(context, x, value); });
}

void cuda::cast(const Context& context, const Tensor& from, const Tensor& to) {
  if (from.dtype == to.dtype) return cuda::copy(context, from, to);
  with_floating(from.dtype, [&]<class From>() {
    with_floating(to.dtype, [&]<class To>() {
      if constexpr (!std::is_same_v<From, To>) cast_as<From, To>(context, from, to);
    });
  });
}

void cuda::add(const Context& context, const Tensor& x, const Tensor& y, const Tensor& sum) {
  with_floating(x.dtype, [&]<class T>() {
    const bool packs =
        takes_packs<T>(x.data, 0) && takes_packs<T>(y.data, 0) && takes_packs<T>(sum.data, 0);
    with_width<T>(packs, [&]<int width>() {
      launch_walk("add", add_kernel<T, width>, flat_walk(x.elements(), width), context.stream,
                  x.as<T>(), y.as<T>(), sum.as<T>());
    });
  });
}

void cuda::iota(const Context& context, const Tensor& x, int64_t first) {
  const LaunchShape shape = flat_launch(x.elements(), 4);
  if (x.dtype == DType::i64) {
    launch("iota", iota_kernel<int64_t>, shape, context.stream, x.as<int64_t>(), first,
           x.elements());
  } else {
    launch("iota", iota_kernel<int32_t>, shape, context.stream, x.as<int32_t>(), first,
           x.elements());
  }
}

}  // namespace switchyard::ops
