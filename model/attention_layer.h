#pragma once

#include "core/ops/attention.h"
#include "model/block_stash.h"
#include "model/linear.h"

namespace switchyard {

// Causal self-attention of this rank's heads, from normalised rows to its branch of the residual
// (before bias and dropout).
class AttentionLayer {
 public:
  AttentionLayer(StageContext& context, std::span<const Parameter> parameters, int64_t layer);

  // stash.attention_input -> branch, both [own_rows, hidden].
  void forward(BlockStash& stash, const Tensor& branch) const;
  // branch_gradient -> input_gradient, both [own_rows, hidden]; adds the weights' gradients.
  void backward(const BlockStash& stash, const Tensor& branch_gradient,
                const Tensor& input_gradient) const;

 private:
  ops::AttentionOptions options() const;
  void rotate(const Tensor& qkv, bool inverse) const;
  void attention_backward(const BlockStash& stash) const;

  StageContext& context_;
  ColumnParallelLinear qkv_;
  RowParallelLinear output_;
  uint32_t dropout_purpose_;
};

}  // namespace switchyard
