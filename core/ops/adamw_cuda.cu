#include "core/cuda/walk_rows.h"
#include "core/ops/adamw_factors.h"
#include "core/ops/backends.h"

namespace switchyard::ops {

namespace {

using namespace switchyard::cuda;

__device__ float moving_average(float before, float now, float share) {
  const float difference = now - before;
  return share < 0.5f ? fmaf(share, difference, before) : fmaf(share - 1, difference, now);
}

// The constants of a step.
struct AdamWStep {
  AdamWFactors factors;
  float rate, scale, factor1, factor2;

  __device__ AdamWStep(const float* scalars, const AdamWFactors& given)
      : factors(given),
        rate(scalars[learning_rate]),
        scale(scalars[gradient_scale]),
        factor1(scalars[exp_avg_factor]),
        factor2(scalars[exp_avg_sq_factor]) {}

  __device__ void operator()(float& weight, float gradient, float& exp_avg,
                             float& exp_avg_sq) const {
    const float g = gradient * scale;
    exp_avg = moving_average(exp_avg, g, factors.share1);
    exp_avg_sq = moving_average(exp_avg_sq, g * g, factors.share2);
    const float towards = factor1 * exp_avg / (sqrtf(exp_avg_sq * factor2) + factors.epsilon);
    weight = fmaf(-rate, fmaf(factors.weight_decay, weight, towards), weight);
  }
};

template <class Rounded>
struct AdamWPointers {
  float* weight;
  const float* gradient;
  float* exp_avg;
  float* exp_avg_sq;
  Rounded* rounded;  // may be null
};

template <int n>
struct AdamWGroup {
  Group<float, n> weight, gradient, exp_avg, exp_avg_sq;
};

template <class Rounded, int width>
__global__ void adamw_kernel(RowWalk walk, AdamWPointers<Rounded> to, const float* scalars,
                             AdamWFactors factors) {
  if (scalars[skip_update] != 0.0f) return;
  const AdamWStep step(scalars, factors);
  walk_rows<width>(
      walk,
      [=]<int n>(int64_t, int64_t i) {
        return AdamWGroup<n>{load_group<n>(to.weight + i), load_group<n>(to.gradient + i),
                             load_group<n>(to.exp_avg + i), load_group<n>(to.exp_avg_sq + i)};
      },
      [=]<int n>(int64_t, int64_t i, AdamWGroup<n> at) {
#pragma unroll
        for (int j = 0; j < n; ++j) {
          step(at.weight[j], at.gradient[j], at.exp_avg[j], at.exp_avg_sq[j]);
        }
        store_group(to.weight + i, at.weight);
        store_group(to.exp_avg + i, at.exp_avg);
        store_group(to.exp_avg_sq + i, at.exp_avg_sq);
        if (to.rounded == nullptr) return;
        Group<Rounded, n> rounded;
#pragma unroll
        for (int j = 0; j < n; ++j) rounded[j] = from_float<Rounded>(at.weight[j]);
        store_group(to.rounded + i, rounded);
      });
}

template <class Rounded>
void adamw_as(const Context& context, const AdamWTensors& t, const Tensor& scalars,
              const AdamWOptions& options) {
  const AdamWPointers<Rounded> to{t.weight.as<float>(), t.gradient.as<float>(),
                                  t.exp_avg.as<float>(), t.exp_avg_sq.as<float>(),
                                  t.rounded ? t.rounded.as<Rounded>() : nullptr};
  bool packs = std::bit_cast<uintptr_t>(to.rounded) % 8 == 0;
  for (const void* data : {t.weight.data, t.gradient.data, t.exp_avg.data, t.exp_avg_sq.data}) {
    packs = packs && takes_packs<float>(data, 0);
  }
  with_width<float>(packs, [&]<int width>() {
    launch_walk("adamw", adamw_kernel<Rounded, width>, flat_walk(t.weight.elements(), width),
                context.stream, to, scalars.as<float>(), AdamWFactors(options));
  });
}

}  // namespace

void cuda::adamw(const Context& context, const AdamWTensors& tensors, const Tensor& scalars,
                 const AdamWOptions& options) {
  if (tensors.rounded && tensors.rounded.dtype == DType::f16) {
    adamw_as<f16>(context, tensors, scalars, options);
  } else {
    adamw_as<bf16>(context, tensors, scalars, options);
  }
}

}  // namespace switchyard::ops
