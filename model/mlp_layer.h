#pragma once

#include "model/block_stash.h"
#include "model/linear.h"

namespace switchyard {

// down(activation(up(x))) or, with a gate, down(silu(gate(x)) * up(x)): from normalised rows to its
// branch of the residual (before bias and dropout).
class MlpLayer {
 public:
  MlpLayer(StageContext& context, std::span<const Parameter> parameters, int64_t layer);

  // stash.mlp_input -> branch, both [own_rows, hidden].
  void forward(BlockStash& stash, const Tensor& branch) const;
  // branch_gradient -> input_gradient, both [own_rows, hidden]; may write over stash.up.
  void backward(const BlockStash& stash, const Tensor& branch_gradient,
                const Tensor& input_gradient) const;
  // The products of the two in a step.
  static void forward_products(ProductList& list);
  static void backward_products(ProductList& list);

 private:
  Tensor up_gradient(const BlockStash& stash, RowExchange::Gathering& branch_gradient) const;

  StageContext& context_;
  ColumnParallelLinear up_;
  RowParallelLinear down_;
};

}  // namespace switchyard
