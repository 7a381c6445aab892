#pragma once

#include "core/ops/context.h"
#include "core/tensor.h"

namespace switchyard::ops {

// Cross entropy over logits whose columns are split over ranks, in two passes over the logits.
// targets is i32 [rows] of global columns; a target of -1 is left out: loss 0, gradient 0.
struct VocabularyPart {
  int64_t first_column = 0;   // the global column of the local column 0
  int64_t valid_columns = 0;  // local columns that exist; the rest pads the vocabulary
};

// Pass 1: statistics [rows, 3] f32 = (max, sum of exp(logit - max), target's logit or 0 when it is
// not here) over the valid columns of logits [rows, columns], f32, bf16 or (on a GPU) f16. With
// valid_columns 0:
// (-inf, 0, 0).
void cross_entropy_statistics(const Context& context, const Tensor& logits, const Tensor& targets,
                              const VocabularyPart& part, const Tensor& statistics);

// Combines the statistics of all parts [parts, rows, 3] in order of the parts: log_sum [rows] =
// log(sum(exp(logit))), loss [rows] = log_sum - target's logit, both f32.
void cross_entropy_combine(const Context& context, const Tensor& statistics, const Tensor& targets,
                           const Tensor& log_sum, const Tensor& loss);

// What gradients are multiplied by as they are written.
struct GradientScale {
  Tensor loss_scale;        // f32 [1] in the device's memory; none: 1
  float multiplier = 1.0f;  // the same in every step
};

// Pass 2: logits = scale * (softmax - one_hot(target)), over the logits; padding columns become 0.
void cross_entropy_gradient(const Context& context, const Tensor& logits, const Tensor& targets,
                            const VocabularyPart& part, const Tensor& log_sum,
                            const GradientScale& scale = {});

// All of it at once where the whole vocabulary is here (first_column 0): loss [rows] f32, and the
// gradient over the logits. The logits are read from far memory once.
void cross_entropy(const Context& context, const Tensor& logits, const Tensor& targets,
                   const VocabularyPart& part, const Tensor& loss, const GradientScale& scale = {});

}  // namespace switchyard::ops
