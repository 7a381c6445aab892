#pragma once

#include "model/attention_layer.h"
#include "model/mlp_layer.h"
#include "model/norm_layer.h"
#include "model/residual_branch.h"

namespace switchyard {

// One transformer block over the residual stream h [own_rows, hidden], norms before the branches:
//   serial:    m = h + drop(attention(norm1(h)));  out = m + drop(mlp(norm2(m)))
//   parallel:  out = h + drop(attention(norm1(h))) + drop(mlp(norm2(h)))      (GPT-NeoX)
// The stream is read and written once where two blocks meet: norm1 is computed by whatever writes
// h, and the norm behind a block by its last addition; backward likewise.
class Block {
 public:
  Block(StageContext& context, std::span<const Parameter> parameters, int64_t layer);

  NormOutput first_norm(BlockStash& stash) const {
    return {&attention_norm_, stash.attention_input, stash.attention_mean,
            stash.attention_reciprocal};
  }
  // What joins the stream last, the MLP.
  const ResidualBranch& last_branch() const { return mlp_branch_; }

  void prepare(const BlockStash& stash) const { attention_.prepare(stash); }
  // first_norm has been computed; `behind` is, of the output.
  void forward(BlockStash& stash, const Tensor& input, const Tensor& output,
               const NormOutput& behind, KeyValueCache* cache = nullptr) const;
  // From the gradients at last_branch()'s join to the gradient of the input, `below`, and that of
  // the branch `before` which joined it last; there may be none. above.stream and below may be the
  // same memory; above.stream is not written otherwise.
  JoinGradient backward(const BlockStash& stash, const Tensor& input, const JoinGradient& above,
                        const Tensor& below, const ResidualBranch* before) const;
  // The products of the two in a step.
  static void forward_products(ProductList& list);
  static void backward_products(ProductList& list);

 private:
  NormOutput second_norm(BlockStash& stash) const {
    return {&mlp_norm_, stash.mlp_input, stash.mlp_mean, stash.mlp_reciprocal};
  }
  Tensor serial_attention_gradient(const BlockStash& stash, const Tensor& above,
                                   const Tensor& below) const;
  void second_norm_backward(const BlockStash& stash, ops::ResidualNormBackward& t) const;
  JoinGradient first_norm_backward(const BlockStash& stash, const Tensor& input,
                                   const Tensor& normalized_gradient, const Tensor& below,
                                   const ResidualBranch* before) const;

  StageContext& context_;
  NormLayer attention_norm_, mlp_norm_;
  AttentionLayer attention_;
  MlpLayer mlp_;
  ResidualBranch attention_branch_, mlp_branch_;
};

}  // namespace switchyard
