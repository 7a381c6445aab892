#include "model/embedding_layer.h"

#include "core/ops/embedding.h"
#include "core/profiler.h"

namespace switchyard {

namespace {

const uint32_t dropout_purpose = random_purpose("embedding.dropout");

}  // namespace

EmbeddingLayer::EmbeddingLayer(StageContext& context, std::span<const Parameter> parameters)
    : context_(context), word_(parameters, {"embedding.word.weight"}) {
  if (context.config.positions == Positions::learned) {
    position_ = ParameterGroup(parameters, {"embedding.position.weight"});
  }
}

// The positions of a sample, of which a shorter sequence than the table's uses the first.
Tensor EmbeddingLayer::used(const Tensor& table) const {
  return table.slice(0, 0, context_.sizes.sequence);
}

void EmbeddingLayer::forward(const Tensor& output) const {
  const ProfiledPart part("embedding");
  const LocalSizes& s = context_.sizes;
  const Tensor partial = context_.exchange.partial(output, context_.work.gathered);
  ops::embedding_forward(context_.ops, context_.batch->tokens.view({s.rows}), word_.weight(),
                         s.first_token, partial);
  context_.exchange.reduce_scatter(partial, output, {"reduce-scatter of embeddings"});
  if (position_) {
    ops::position_embedding_forward(context_.ops, used(position_.weight()), s.first_own_row,
                                    output);
  }
  const ops::Dropout dropout = context_.hidden_dropout(dropout_purpose);
  if (dropout.probability > 0) ops::dropout(context_.ops, output, output, dropout);
}

void EmbeddingLayer::backward(const Tensor& output_gradient) const {
  const ProfiledPart part("embedding");
  const LocalSizes& s = context_.sizes;
  const ops::Dropout dropout = context_.hidden_dropout(dropout_purpose);
  if (dropout.probability > 0) {
    ops::dropout(context_.ops, output_gradient, output_gradient, dropout);
  }
  auto all = context_.exchange.gather(output_gradient, context_.work.gathered,
                                      {"all-gather of embedding gradients"});
  if (position_) {
    ops::position_embedding_backward(context_.ops, output_gradient, s.first_own_row,
                                     used(position_.gradient()));
    context_.report_ready(position_);
  }
  ops::embedding_backward(context_.ops, context_.batch->tokens.view({s.rows}), all.rows(),
                          s.first_token, word_.gradient());
  context_.report_ready(word_);
}

}  // namespace switchyard
