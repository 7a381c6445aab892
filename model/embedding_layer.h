#pragma once

#include "model/stage_context.h"

namespace switchyard {

// h [own_rows, hidden] = drop(word[token] + position[p]), the vocabulary split over tp.
class EmbeddingLayer {
 public:
  EmbeddingLayer(StageContext& context, std::span<const Parameter> parameters);

  void forward(const Tensor& output) const;
  // Writes over the gradient.
  void backward(const Tensor& output_gradient) const;

 private:
  Tensor used(const Tensor& table) const;

  StageContext& context_;
  ParameterGroup word_, position_;
};

}  // namespace switchyard
