#pragma once

#include "model/block_stash.h"
#include "model/linear.h"
#include "model/norm_layer.h"

namespace switchyard {

// Final norm, logits with the vocabulary split over tp, cross entropy.
class HeadLayer {
 public:
  HeadLayer(StageContext& context, std::span<const Parameter> parameters);

  // Adds the losses to the context's sum; in training the logits are their gradient afterwards.
  void forward(HeadStash& stash, const Tensor& input) const;
  // Writes the gradient of the input [own_rows, hidden].
  void backward(const HeadStash& stash, const Tensor& input, const Tensor& input_gradient) const;

  // The final norm and stash.logits alone.
  void logits(HeadStash& stash, const Tensor& input) const;

 private:
  void losses(HeadStash& stash, const Tensor& targets) const;

  StageContext& context_;
  NormLayer norm_;
  ParameterGroup weight_;
  bool tied_to_embedding_here_;
};

}  // namespace switchyard
