#include "model/embedding_layer.h"

#include <algorithm>

#include "core/ops/elementwise.h"
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

// The own rows are consecutive, so each sample's share of them adds one slice of the table.
void EmbeddingLayer::add_positions(const Tensor& output) const {
  const LocalSizes& s = context_.sizes;
  const Tensor table = position_.weight();
  for (int64_t row = 0; row < s.own_rows;) {
    const int64_t position = (s.first_own_row + row) % s.sequence;
    const int64_t count = std::min(s.sequence - position, s.own_rows - row);
    const Tensor rows = output.slice(0, row, row + count);
    ops::add(context_.ops, rows, table.slice(0, position, position + count), rows);
    row += count;
  }
}

void EmbeddingLayer::forward(const Tensor& output) const {
  const ProfiledPart part("embedding");
  const LocalSizes& s = context_.sizes;
  const Tensor partial = context_.exchange.partial(output, context_.work.gathered);
  ops::embedding_forward(context_.ops, context_.batch->tokens.view({s.rows}), word_.weight(),
                         s.first_token, partial);
  context_.exchange.reduce_scatter(partial, output, {"reduce-scatter of embeddings"});
  if (position_) add_positions(output);
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
    ops::embedding_backward(context_.ops, context_.work.row_positions, output_gradient, 0,
                            position_.gradient());
    context_.report_ready(position_);
  }
  ops::embedding_backward(context_.ops, context_.batch->tokens.view({s.rows}), all.rows(),
                          s.first_token, word_.gradient());
  context_.report_ready(word_);
}

}  // namespace switchyard
