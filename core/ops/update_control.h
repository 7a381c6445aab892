#pragma once

#include "core/ops/adamw.h"
#include "core/ops/context.h"
#include "core/tensor.h"

namespace switchyard::ops {

// fp16's dynamic loss scale, by Megatron-LM's rules (Micikevicius et al., "Mixed precision
// training", 2018, section 3.2): an overflow skips the update; `hysteresis` overflows without a
// full window of good steps between them halve the scale, never below `least`; `window` good steps
// in a row double it. One overflow after a halving halves again until the scale has grown.
struct LossScaling {
  bool dynamic = false;  // false: the scale stays 1 and an overflow is an error of the run
  float initial = 4294967296.0f;
  float least = 1.0f;
  int64_t window = 1000;
  int64_t hysteresis = 2;
};

struct UpdateControlOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double clip_norm = 1.0;  // 0: no clipping
  // What backward multiplied the sum of the tokens' gradients by, the loss scale aside.
  double multiplier = 1.0;
  LossScaling scaling;
};

// The counters that a run carries on and saves.
enum UpdateCounter { applied_updates, skipped_updates, good_steps, hysteresis_left, counter_count };
// What all ranks' work of a step adds up to.
enum UpdateTotal { total_loss, total_tokens, total_squares, total_count };
// What the host reads of a step, late.
enum UpdateReport {
  report_loss,  // mean over the tokens
  report_tokens,
  report_norm,     // of the mean gradient, before clipping
  report_skipped,  // 1: norm or loss was not finite and nothing was changed
  report_scale,    // the loss scale of this step's backward
  report_applied,  // updates applied so far, this one included
  report_count
};

struct UpdateControl {
  Tensor totals;         // f64 [total_count], over all ranks
  Tensor learning_rate;  // f64 [1]
  Tensor counters;       // i64 [counter_count], updated
  Tensor loss_scale;     // f32 [1], updated for the next step
  Tensor scalars;        // f32 [adamw_scalar_count], written for adamw
  Tensor report;         // f64 [report_count], written
};

// Decides an update in the device's memory, without the host: mean loss, gradient norm, clip
// factor, whether it is applied, AdamW's bias corrections by applied updates, the next loss scale.
void update_control(const Context& context, const UpdateControl& tensors,
                    const UpdateControlOptions& options);

}  // namespace switchyard::ops
