#include "core/cuda/kernel.h"
#include "core/ops/context.h"
#include "core/tensor.h"

namespace switchyard::ops {

namespace {

using namespace switchyard::cuda;

// c [rows, columns], `stride` elements between rows; a thread adds to `width` neighbours.
template <class T, class B, int width>
__global__ void add_bias_kernel(T* c, const B* bias, int64_t rows, int64_t columns,
                                int64_t stride) {
  const int64_t groups = columns / width;
  for (int64_t i = thread_index(); i < rows * groups; i += thread_count()) {
    const int64_t column = i % groups * width;
    T* to = c + i / groups * stride + column;
    if constexpr (width == 1) {
      *to = from_float<T>(to_float(*to) + to_float(bias[column]));
    } else {
      Pack<T> p = load_pack(to);
      for (int j = 0; j < width; ++j) {
        p[j] = from_float<T>(to_float(p[j]) + to_float(bias[column + j]));
      }
      store_pack(to, p);
    }
  }
}

template <class T, class B>
void run(const Stream& stream, const Tensor& c, const Tensor& bias) {
  const int64_t rows = c.shape[0], columns = c.shape[1];
  constexpr int width = Pack<T>::size;
  const int64_t stride = rows > 1 ? c.stride[0] : columns;
  const bool packs = takes_packs<T>(c.data, stride) && columns % width == 0;
  const LaunchShape shape = flat_launch(rows * columns, packs ? width : 1);
  auto* kernel = packs ? add_bias_kernel<T, B, width> : add_bias_kernel<T, B, 1>;
  launch("add_bias", kernel, shape, stream, c.as<T>(), bias.as<B>(), rows, columns, stride);
}

}  // namespace

namespace cuda {

void add_bias(const Context& context, const Tensor& c, const Tensor& bias) {
  with_floating(c.dtype, [&]<class T>() {
    with_floating(bias.dtype, [&]<class B>() { run<T, B>(context.stream, c, bias); });
  });
}

}  // namespace cuda

}  // namespace switchyard::ops
