#pragma once

#include "model/block_stash.h"
#include "model/linear.h"
#include "model/norm_layer.h"
#include "model/products.h"
#include "model/residual_branch.h"

namespace switchyard {

// Final norm, logits with the vocabulary split over tp, cross entropy. The rows go through in
// chunks, whose logits alone exist at a time: in training each chunk's gradients are computed with
// its loss, and what is kept for backward is the gradient of the normalized rows.
class HeadLayer {
 public:
  HeadLayer(StageContext& context, std::span<const Parameter> parameters);

  NormOutput norm(HeadStash& stash) const {
    return {&norm_, stash.normalized, stash.mean, stash.reciprocal};
  }

  // norm() has been computed. Adds the losses to the context's sum; in training the weight's
  // gradient is added to, and that of the normalized rows written over them.
  void forward(HeadStash& stash) const;
  // The products of it in a step.
  static void forward_products(ProductList& list);
  // Writes the gradient of the input [own_rows, hidden], and that of the branch which joined last.
  JoinGradient backward(const HeadStash& stash, const Tensor& input, const Tensor& input_gradient,
                        const ResidualBranch& before) const;

  // Normalized rows [n, hidden] to logits [n, vocabulary_rows].
  void logits(const Tensor& rows, const Tensor& to) const;

 private:
  // Rows [begin, end) of a microbatch.
  struct Chunk {
    int64_t begin, end;
    int64_t rows() const { return end - begin; }
  };
  void chunk_losses(const Chunk& chunk, const Tensor& chunk_logits) const;
  void chunk_losses_in_parts(const Chunk& chunk, const Tensor& chunk_logits) const;
  void chunk_gradients(const Chunk& chunk, const Tensor& logits_gradient, const Tensor& rows) const;

  StageContext& context_;
  NormLayer norm_;
  ParameterGroup weight_;
  bool tied_to_embedding_here_;
};

}  // namespace switchyard
