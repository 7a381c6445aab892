#pragma once

#include "core/memory.h"
#include "core/ops/context.h"
#include "core/ops/dropout.h"
#include "model/config.h"
#include "model/local_sizes.h"
#include "model/parameters.h"
#include "model/step_inputs.h"
#include "parallel/row_exchange.h"

namespace switchyard {

// Buffers that all layers of a stage use in turn; nothing in them outlives a layer's call.
struct WorkBuffers {
  Tensor row_ids;             // i64 [own_rows], of the present microbatch
  Tensor gathered;            // [rows, hidden]; with tp 1 these two are none
  Tensor regathered;          // [rows, hidden]
  Tensor branch;              // [own_rows, hidden], output of attention or MLP, or its gradient
  Tensor norm_gradient[2];    // [own_rows, hidden]; the second for parallel residuals only
  Tensor stream_gradient;     // [own_rows, hidden], of the residual stream
  Tensor activated_gradient;  // [rows, ffn]; of the activation's input where it is a fused GELU
  Tensor attended_gradient;   // [rows, heads * head_dim]
  Tensor qkv_gradient;        // [rows, qkv_width]
  Tensor logits;              // [chunk, vocabulary_rows], then their gradient; of the head's chunk
  Tensor log_sum;             // [chunk] f32
  Tensor statistics;          // [tp * chunk, 3] f32
  Tensor losses;              // [rows] f32
};

// What the layers of a stage share: configuration, sizes, groups, buffers, the microbatch at work.
struct StageContext {
  GptConfig config;
  LocalSizes sizes;
  ops::Context ops;
  RowExchange exchange;
  Tensor positions;     // i32 [sequence]
  Tensor rotary_table;  // [sequence, rotary_dim / 2, 2] f32; none for learned positions
  WorkBuffers work = {};
  uint64_t seed = 0;
  bool deterministic = true;

  // The microbatch at work.
  const TokenBatch* batch = nullptr;
  StepInputs inputs = {};  // of the training step at work
  Tensor loss_sum = {};    // f64 [1], of the microbatches since begin
  bool training = false;
  bool accumulate_gradients = false;  // false: this is the step's first microbatch
  bool gradients_complete = false;    // with this microbatch's backward

  RandomKey random_key(uint32_t purpose) const {
    return {seed, static_cast<uint32_t>(inputs.step), purpose, inputs.step_on_device};
  }
  ops::Dropout hidden_dropout(uint32_t purpose) const {
    if (!training || config.hidden_dropout == 0) return {};
    return {config.hidden_dropout, random_key(purpose), work.row_ids};
  }
  void report_ready(const ParameterGroup& group) const {
    if (!gradients_complete || !inputs.ready) return;
    for (int i = 0; i < group.count(); ++i) inputs.ready(group.first() + i);
  }
};

}  // namespace switchyard
