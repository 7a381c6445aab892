#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/ops/adamw_cpu.cpp"
#include "core/ops/highway.h"
// Keep this order.
#include <hwy/foreach_target.h>

#include "core/ops/adamw.h"
#include "core/ops/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace switchyard::ops {
namespace HWY_NAMESPACE {
namespace {

// The constants of a step, each in all lanes.
struct AdamWStep {
  Float scale, beta1, beta2, rest1, rest2, rate, decay, correction2, epsilon;

  AdamWStep(const float* scalars, const AdamWOptions& options)
      : scale(constant(scalars[gradient_scale])),
        beta1(constant(options.beta1)),
        beta2(constant(options.beta2)),
        rest1(constant(1 - options.beta1)),
        rest2(constant(1 - options.beta2)),
        rate(constant(scalars[learning_rate] / scalars[bias_correction1])),
        decay(constant(1 - scalars[learning_rate] * options.weight_decay)),
        correction2(constant(1 / scalars[bias_correction2])),
        epsilon(constant(options.epsilon)) {}
};

void adamw_range(const AdamWTensors& tensors, const float* scalars, const AdamWOptions& options,
                 int64_t begin, int64_t end) {
  const AdamWStep step(scalars, options);
  float* weight = tensors.weight.as<float>() + begin;
  const float* gradient = tensors.gradient.as<float>() + begin;
  float* exp_avg = tensors.exp_avg.as<float>() + begin;
  float* exp_avg_sq = tensors.exp_avg_sq.as<float>() + begin;
  bf16* rounded = tensors.rounded ? tensors.rounded.as<bf16>() + begin : nullptr;
  for_vectors(static_cast<size_t>(end - begin), [&](size_t i, auto part) HWY_ATTR {
    const Float g = hn::Mul(load(gradient + i, part), step.scale);
    const Float m = hn::MulAdd(step.beta1, load(exp_avg + i, part), hn::Mul(step.rest1, g));
    const Float v =
        hn::MulAdd(step.beta2, load(exp_avg_sq + i, part), hn::Mul(hn::Mul(step.rest2, g), g));
    const Float root = hn::Sqrt(hn::Mul(v, step.correction2));
    const Float update = hn::Div(hn::Mul(step.rate, m), hn::Add(root, step.epsilon));
    const Float w = hn::MulSub(load(weight + i, part), step.decay, update);
    store(m, exp_avg + i, part);
    store(v, exp_avg_sq + i, part);
    store(w, weight + i, part);
    if (rounded != nullptr) store(w, rounded + i, part);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace switchyard::ops
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "core/ops/backends.h"
#include "core/ops/parallel_blocks.h"

namespace switchyard::ops {
HWY_EXPORT(adamw_range);

void cpu::adamw(const Context&, const AdamWTensors& tensors, const Tensor& scalars,
                const AdamWOptions& options) {
  if (scalars.as<float>()[skip_update] != 0.0f) return;
  constexpr int64_t block = 1 << 16;
  parallel_blocks(tensors.weight.elements(), block, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(adamw_range)(tensors, scalars.as<float>(), options, begin, end);
  });
}

}  // namespace switchyard::ops
#endif  // HWY_ONCE
