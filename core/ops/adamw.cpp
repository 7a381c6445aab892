#include "core/ops/adamw.h"

#include "core/ops/backends.h"
#include "core/ops/checks.h"

namespace switchyard::ops {

namespace {

constexpr std::string_view where = "adamw";

void check_flat(std::string_view name, const Tensor& t, DType dtype, const Shape& shape,
                Device device) {
  check_dtype(where, name, t, {dtype});
  check_shape(where, name, t, shape);
  check_contiguous(where, name, t);
  check_device(where, name, t, device);
}

// The CPU stores rounded weights as bf16 alone.
void check_rounded(const Tensor& rounded, const Tensor& weight) {
  if (weight.device == Device::cuda) {
    check_dtype(where, "rounded", rounded, {DType::bf16, DType::f16});
  } else {
    check_dtype(where, "rounded", rounded, {DType::bf16});
  }
  check_flat("rounded", rounded, rounded.dtype, weight.shape, weight.device);
}

}  // namespace

void adamw(const Context& context, const AdamWTensors& tensors, const Tensor& scalars,
           const AdamWOptions& options) {
  const Tensor& weight = tensors.weight;
  check_rank(where, "weight", weight, 1);
  check_flat("weight", weight, DType::f32, weight.shape, weight.device);
  check_flat("gradient", tensors.gradient, DType::f32, weight.shape, weight.device);
  check_flat("exp_avg", tensors.exp_avg, DType::f32, weight.shape, weight.device);
  check_flat("exp_avg_sq", tensors.exp_avg_sq, DType::f32, weight.shape, weight.device);
  if (tensors.rounded) check_rounded(tensors.rounded, weight);
  check_flat("scalars", scalars, DType::f32, {adamw_scalar_count}, weight.device);
  check(options.beta1 >= 0 && options.beta1 < 1 && options.beta2 >= 0 && options.beta2 < 1, where,
        "betas of {} and {} were given; 0 <= beta < 1 is allowed", options.beta1, options.beta2);
  on_device(weight.device, cpu::adamw, cuda::adamw)(context, tensors, scalars, options);
}

}  // namespace switchyard::ops
