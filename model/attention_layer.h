#pragma once

#include "core/ops/attention/attention.h"
#include "model/block_stash.h"
#include "model/linear.h"

namespace switchyard {

// Keys and values of the tokens before, for generation: one sample.
struct KeyValueCache {
  Tensor keys, values;  // [context, groups * head_dim]
  Tensor positions;     // i32 [context], 0, 1, ...
  int64_t length = 0;   // tokens held; the layer writes its rows behind them
};

// Causal self-attention of this rank's heads, from normalised rows to its branch of the residual
// (before bias and dropout).
class AttentionLayer {
 public:
  AttentionLayer(StageContext& context, std::span<const Parameter> parameters, int64_t layer);

  // stash.attention_input -> branch, both [own_rows, hidden]. With a cache the rows attend to the
  // tokens in it too.
  void forward(BlockStash& stash, const Tensor& branch, KeyValueCache* cache = nullptr) const;
  // branch_gradient -> input_gradient, both [own_rows, hidden]; adds the weights' gradients.
  void backward(const BlockStash& stash, const Tensor& branch_gradient,
                const Tensor& input_gradient) const;
  // The products of the two in a step.
  static void forward_products(ProductList& list);
  static void backward_products(ProductList& list);
  // Before the first step: what attention of such a stash needs is made now, not then.
  void prepare(const BlockStash& stash) const;

 private:
  ops::AttentionOptions options() const;
  ops::AttentionBackward backward_tensors(const BlockStash& stash) const;
  void rotate(const Tensor& qkv, bool inverse) const;
  void attend(BlockStash& stash) const;
  void attend(BlockStash& stash, KeyValueCache& cache) const;
  void attention_backward(const BlockStash& stash) const;

  StageContext& context_;
  ColumnParallelLinear qkv_;
  RowParallelLinear output_;
  uint32_t dropout_purpose_;
};

}  // namespace switchyard
