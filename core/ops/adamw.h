#pragma once

#include "core/ops/context.h"
#include "core/tensor.h"

namespace switchyard::ops {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.0;  // decoupled: weight -= learning_rate * weight_decay * weight
};

// What changes from step to step, in the device's memory: f32 [5] = (learning rate, gradient scale,
// 1 / (1 - beta1^t), 1 / (1 - beta2^t), skip). The gradient is multiplied by the scale as it is
// read; a skip other than 0 leaves everything as it is. update_control.h writes them.
enum AdamWScalar {
  learning_rate,
  gradient_scale,
  exp_avg_factor,
  exp_avg_sq_factor,
  skip_update,
  adamw_scalar_count
};

struct AdamWTensors {
  Tensor weight;      // f32 [n], the master weights, updated
  Tensor gradient;    // f32 [n]
  Tensor exp_avg;     // f32 [n]
  Tensor exp_avg_sq;  // f32 [n]
  Tensor rounded;  // bf16 [n], on a GPU bf16 or f16: receives the new weights rounded; may be none
};

// AdamW (Loshchilov and Hutter 2019, algorithm 2), in one pass over a flat shard. All that makes up
// an update is summed before it touches the weight, in one subtraction: a decay far below the
// weight's last place is not lost but rounded with the rest.
void adamw(const Context& context, const AdamWTensors& tensors, const Tensor& scalars,
           const AdamWOptions& options);

}  // namespace switchyard::ops
