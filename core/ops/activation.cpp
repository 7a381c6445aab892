#include "core/ops/activation.h"

#include "core/ops/backends.h"
#include "core/ops/checks.h"

namespace switchyard::ops {

namespace {

void check_input(std::string_view where, Activation kind, const Tensor& x) {
  check_rank(where, "x", x, 2);
  check_floating(where, "x", x);
  check_dense_last_axis(where, "x", x);
  check(kind != Activation::swiglu || x.shape[1] % 2 == 0, where,
        "x has shape {}; SwiGLU takes an even number of columns, the gate's and as many more",
        x.shape.to_string());
}

void check_beside(std::string_view where, std::string_view name, const Tensor& t, const Tensor& x,
                  int64_t columns) {
  check_dtype(where, name, t, {x.dtype});
  check_shape(where, name, t, {x.shape[0], columns});
  check_dense_last_axis(where, name, t);
  check_device(where, name, t, x.device);
}

int64_t output_columns(Activation kind, const Tensor& x) {
  return kind == Activation::swiglu ? x.shape[1] / 2 : x.shape[1];
}

}  // namespace

void activation_forward(const Context& context, Activation kind, const Tensor& x, const Tensor& y) {
  constexpr std::string_view where = "activation_forward";
  check_input(where, kind, x);
  check_beside(where, "y", y, x, output_columns(kind, x));
  on_device(x.device, cpu::activation_forward, cuda::activation_forward)(context, kind, x, y);
}

void activation_backward(const Context& context, Activation kind, const Tensor& x, const Tensor& dy,
                         const Tensor& dx) {
  constexpr std::string_view where = "activation_backward";
  check_input(where, kind, x);
  check_beside(where, "dy", dy, x, output_columns(kind, x));
  check_beside(where, "dx", dx, x, x.shape[1]);
  on_device(x.device, cpu::activation_backward, cuda::activation_backward)(context, kind, x, dy,
                                                                           dx);
}

}  // namespace switchyard::ops
