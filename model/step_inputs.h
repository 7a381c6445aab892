#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "core/ops/cross_entropy.h"
#include "core/tensor.h"

namespace switchyard {

// The tokens of one microbatch, [micro_batch, sequence_length] i32 on the stage's device; a target
// of -1 is not scored.
struct TokenBatch {
  Tensor tokens;
  Tensor targets;
  int64_t first_sample = 0;  // its first sample's number in the global batch
};

// Throws Error naming a number that is no token: each must be in [lowest, vocabulary), where lowest
// is 0 for tokens and -1 for targets. Device memory is not looked into: whoever fills it checks.
void check_tokens(std::span<const int32_t> ids, std::string_view what, int64_t lowest,
                  int64_t vocabulary);

// What a training step knows besides its microbatches.
struct StepInputs {
  int64_t step = 0;                          // keys dropout
  const uint32_t* step_on_device = nullptr;  // where given, kernels read it here: see RandomKey
  ops::GradientScale gradient_scale = {};    // of the sum of all tokens' gradients
  // Called with a parameter's index before its weights are first read: they may still be arriving.
  std::function<void(int parameter)> needed = {};
  // Called with a parameter's index when its gradient is complete as far as the stage's stream goes
  // (in the last microbatch's backward).
  std::function<void(int parameter)> ready = {};
};

}  // namespace switchyard
