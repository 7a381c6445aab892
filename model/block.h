#pragma once

#include "model/attention_layer.h"
#include "model/mlp_layer.h"
#include "model/norm_layer.h"

namespace switchyard {

// One transformer block over the residual stream h [own_rows, hidden], norms before the branches:
//   serial:    m = h + drop(attention(norm1(h)));  out = m + drop(mlp(norm2(m)))
//   parallel:  out = h + drop(attention(norm1(h))) + drop(mlp(norm2(h)))      (GPT-NeoX)
class Block {
 public:
  Block(StageContext& context, std::span<const Parameter> parameters, int64_t layer);

  void forward(BlockStash& stash, const Tensor& input, const Tensor& output,
               KeyValueCache* cache = nullptr) const;
  // From the gradient of the output, `above`, to the gradient of the input, `below`; both may be
  // the same memory. `above` is not written otherwise.
  void backward(const BlockStash& stash, const Tensor& input, const Tensor& above,
                const Tensor& below) const;

 private:
  struct Branch {
    ParameterGroup bias;  // may be none
    uint32_t dropout_purpose;
  };
  void forward_serial(BlockStash& stash, const Tensor& input, const Tensor& output) const;
  void forward_parallel(BlockStash& stash, const Tensor& input, const Tensor& output) const;
  void backward_serial(const BlockStash& stash, const Tensor& input, const Tensor& above,
                       const Tensor& below) const;
  void backward_parallel(const BlockStash& stash, const Tensor& input, const Tensor& above,
                         const Tensor& below) const;
  ops::ResidualNorm addition(const Tensor& residual, const Branch& branch, const Tensor& sum) const;
  Tensor branch_gradient(const Branch& branch, const Tensor& above) const;
  void norm_backward(const NormLayer& norm, ops::ResidualNormBackward t) const;

  StageContext& context_;
  NormLayer attention_norm_, mlp_norm_;
  AttentionLayer attention_;
  MlpLayer mlp_;
  Branch attention_branch_, mlp_branch_;
};

}  // namespace switchyard
