#include "core/cuda/kernel.h"
#include "core/ops/backends.h"

namespace switchyard::ops {

namespace {

using namespace switchyard::cuda;

template <class T>
__global__ void scale_kernel(T* x, float factor, int64_t n) {
  const int64_t packs = n / Pack<T>::size;
  for (int64_t i = thread_index(); i < packs; i += thread_count()) {
    Pack<T> p = load_pack(x + i * Pack<T>::size);
    for (int j = 0; j < Pack<T>::size; ++j) p[j] = from_float<T>(to_float(p[j]) * factor);
    store_pack(x + i * Pack<T>::size, p);
  }
  const int64_t i = packs * Pack<T>::size + thread_index();
  if (i < n) x[i] = from_float<T>(to_float(x[i]) * factor);
}

}  // namespace

void cuda::fill(const Context&, const Tensor&, float) { throw_error("fill", "not yet on cuda"); }
void cuda::copy(const Context&, const Tensor&, const Tensor&) { throw_error("copy", "not yet on cuda"); }
void cuda::cast(const Context&, const Tensor&, const Tensor&) { throw_error("cast", "not yet on cuda"); }

void cuda::scale(const Context& context, const Tensor& x, float factor) {
  const int64_t n = x.elements();
  with_floating(x.dtype, [&]<class T>() {
    launch("scale", scale_kernel<T>, flat_launch(n, Pack<T>::size), context.stream, x.as<T>(),
           factor, n);
  });
}

void cuda::add(const Context&, const Tensor&, const Tensor&, const Tensor&) {
  throw_error("add", "not yet on cuda");
}
void cuda::iota(const Context&, const Tensor&, int64_t) { throw_error("iota", "not yet on cuda"); }
void cuda::column_sum(const Context&, const Tensor&, const Tensor&) {
  throw_error("column_sum", "not yet on cuda");
}
void cuda::sum_of_squares(const Context&, const Tensor&, const Tensor&) {
  throw_error("sum_of_squares", "not yet on cuda");
}
void cuda::sum(const Context&, const Tensor&, const Tensor&) { throw_error("sum", "not yet on cuda"); }

}  // namespace switchyard::ops
