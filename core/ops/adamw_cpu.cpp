#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/ops/adamw_cpu.cpp"
#include "core/ops/highway.h"
// Keep this order.
#include <hwy/foreach_target.h>

#include "core/ops/adamw_factors.h"
#include "core/ops/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace switchyard::ops {
namespace HWY_NAMESPACE {
namespace {

// The constants of a step, each in all lanes.
struct AdamWStep {
  Float rate, scale, factor1, factor2, share1, share2, epsilon, weight_decay;

  AdamWStep(const float* scalars, const AdamWFactors& factors)
      : rate(constant(scalars[learning_rate])),
        scale(constant(scalars[gradient_scale])),
        factor1(constant(scalars[exp_avg_factor])),
        factor2(constant(scalars[exp_avg_sq_factor])),
        share1(constant(factors.share1)),
        share2(constant(factors.share2)),
        epsilon(constant(factors.epsilon)),
        weight_decay(constant(factors.weight_decay)) {}
};

HWY_INLINE Float moving_average(Float before, Float now, Float share) {
  const Float difference = hn::Sub(now, before);
  return hn::IfThenElse(hn::Lt(share, constant(0.5f)), hn::MulAdd(share, difference, before),
                        hn::MulAdd(hn::Sub(share, constant(1.0f)), difference, now));
}

void adamw_range(const AdamWTensors& tensors, const float* scalars, const AdamWFactors& factors,
                 int64_t begin, int64_t end) {
  const AdamWStep step(scalars, factors);
  float* weight = tensors.weight.as<float>() + begin;
  const float* gradient = tensors.gradient.as<float>() + begin;
  float* exp_avg = tensors.exp_avg.as<float>() + begin;
  float* exp_avg_sq = tensors.exp_avg_sq.as<float>() + begin;
  bf16* rounded = tensors.rounded ? tensors.rounded.as<bf16>() + begin : nullptr;
  for_vectors(static_cast<size_t>(end - begin), [&](size_t i, auto part) HWY_ATTR {
    const Float g = hn::Mul(load(gradient + i, part), step.scale);
    const Float m = moving_average(load(exp_avg + i, part), g, step.share1);
    const Float v = moving_average(load(exp_avg_sq + i, part), hn::Mul(g, g), step.share2);
    const Float root = hn::Sqrt(hn::Mul(v, step.factor2));
    const Float towards = hn::Div(hn::Mul(step.factor1, m), hn::Add(root, step.epsilon));
    const Float w0 = load(weight + i, part);
    const Float w = hn::NegMulAdd(step.rate, hn::MulAdd(step.weight_decay, w0, towards), w0);
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
  const AdamWFactors factors(options);
  constexpr int64_t block = 1 << 16;
  parallel_blocks(tensors.weight.elements(), block, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(adamw_range)(tensors, scalars.as<float>(), factors, begin, end);
  });
}

}  // namespace switchyard::ops
#endif  // HWY_ONCE
