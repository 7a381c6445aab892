#include "model/attention_layer.h"

#include <fmt/core.h>

#include <cmath>

#include "core/ops/elementwise.h"
#include "core/ops/rotary.h"
#include "core/profiler.h"

namespace switchyard {

namespace {

ParameterGroup qkv_group(std::span<const Parameter> parameters, int64_t layer, const char* kind) {
  const auto name = [&](const char* part) {
    return layer_name(layer, fmt::format("attention.{}.{}", part, kind));
  };
  return ParameterGroup(parameters, {name("q"), name("k"), name("v")});
}

// Heads [first, first + count) of rows [rows, width] as [batch, length, count, head_dim].
Tensor heads_of(const Tensor& rows, int64_t batch, int64_t head_dim, int64_t first, int64_t count) {
  const int64_t length = rows.shape[0] / batch;
  Tensor view = rows.slice(1, first * head_dim, (first + count) * head_dim);
  view.shape = {batch, length, count, head_dim};
  view.stride = {length * rows.stride[0], rows.stride[0], head_dim, 1};
  return view;
}

Tensor heads_of(const Tensor& rows, const LocalSizes& s, int64_t first, int64_t count) {
  return heads_of(rows, s.batch, s.head_dim, first, count);
}

struct HeadViews {
  Tensor q, k, v;
};
HeadViews split_heads(const Tensor& qkv, const LocalSizes& s) {
  return {heads_of(qkv, s, 0, s.heads), heads_of(qkv, s, s.heads, s.groups),
          heads_of(qkv, s, s.heads + s.groups, s.groups)};
}

ColumnParallelLinear::Products qkv_products(const StepShape& step) {
  return {"attention qkv", step.sizes.hidden, step.sizes.qkv_width(), step.config.has_qkv_bias()};
}

RowParallelLinear::Products output_products(const StepShape& step) {
  return {"attention output", step.sizes.attention_width(), step.sizes.hidden};
}

}  // namespace

AttentionLayer::AttentionLayer(StageContext& context, std::span<const Parameter> parameters,
                               int64_t layer)
    : context_(context),
      qkv_(context, qkv_group(parameters, layer, "weight"),
           context.config.has_qkv_bias() ? qkv_group(parameters, layer, "bias") : ParameterGroup()),
      output_(context, ParameterGroup(parameters, {layer_name(layer, "attention.output.weight")})),
      dropout_purpose_(random_purpose(layer_name(layer, "attention.dropout"))) {}

ops::AttentionOptions AttentionLayer::options() const {
  const LocalSizes& s = context_.sizes;
  ops::AttentionOptions options;
  options.scale = 1.0f / std::sqrt(static_cast<float>(s.head_dim));
  options.query_positions = options.key_positions = context_.positions;
  options.dropout = context_.training ? context_.config.attention_dropout : 0.0;
  options.key = context_.random_key(dropout_purpose_);
  options.first_sample = context_.batch == nullptr ? 0 : context_.batch->first_sample;
  options.first_head = s.first_head;
  options.all_heads = context_.config.heads;
  options.sequence_length = s.sequence;
  options.positions_in_order = true;
  options.deterministic = context_.deterministic;
  return options;
}

// Queries and keys lie next to each other, so they are rotated as one tensor of heads.
void AttentionLayer::rotate(const Tensor& qkv, bool inverse) const {
  if (!context_.rotary_table) return;
  const LocalSizes& s = context_.sizes;
  ops::rotary(context_.ops, heads_of(qkv, s, 0, s.heads + s.groups), context_.rotary_table,
              context_.positions, inverse);
}

void AttentionLayer::forward(BlockStash& stash, const Tensor& branch, KeyValueCache* cache) const {
  const ProfiledPart part("attention");
  auto input = context_.exchange.gather_for_product(stash.attention_input, context_.work.gathered,
                                                    {"all-gather of attention inputs"});
  qkv_.forward(input, stash.qkv);
  rotate(stash.qkv, false);
  if (cache != nullptr) {
    attend(stash, *cache);
  } else {
    attend(stash);
  }
  output_.forward(stash.attended, context_.work.gathered, branch);
}

void AttentionLayer::forward_products(ProductList& list) {
  qkv_products(list.step()).forward(list);
  output_products(list.step()).forward(list);
}

void AttentionLayer::attend(BlockStash& stash) const {
  const LocalSizes& s = context_.sizes;
  const HeadViews heads = split_heads(stash.qkv, s);
  ops::attention_forward(context_.ops, heads.q, heads.k, heads.v,
                         heads_of(stash.attended, s, 0, s.heads), stash.log_sum, options());
}

void AttentionLayer::attend(BlockStash& stash, KeyValueCache& cache) const {
  const LocalSizes& s = context_.sizes;
  const int64_t end = cache.length + s.rows;
  const int64_t keys = s.heads * s.head_dim, width = s.groups * s.head_dim;
  ops::copy(context_.ops, stash.qkv.slice(1, keys, keys + width),
            cache.keys.slice(0, cache.length, end));
  ops::copy(context_.ops, stash.qkv.slice(1, keys + width, keys + 2 * width),
            cache.values.slice(0, cache.length, end));
  ops::AttentionOptions with_cache = options();
  with_cache.key_positions = cache.positions.slice(0, 0, end);
  with_cache.positions_in_order = false;  // each length would want a plan of its own
  ops::attention_forward(context_.ops, heads_of(stash.qkv, s, 0, s.heads),
                         heads_of(cache.keys.slice(0, 0, end), s, 0, s.groups),
                         heads_of(cache.values.slice(0, 0, end), s, 0, s.groups),
                         heads_of(stash.attended, s, 0, s.heads), stash.log_sum, with_cache);
}

ops::AttentionBackward AttentionLayer::backward_tensors(const BlockStash& stash) const {
  const LocalSizes& s = context_.sizes;
  const WorkBuffers& work = context_.work;
  const HeadViews heads = split_heads(stash.qkv, s);
  ops::AttentionBackward tensors;
  tensors.q = heads.q;
  tensors.k = heads.k;
  tensors.v = heads.v;
  tensors.out = heads_of(stash.attended, s, 0, s.heads);
  tensors.log_sum = stash.log_sum;
  if (!context_.training) return tensors;
  const HeadViews gradients = split_heads(work.qkv_gradient, s);
  tensors.dout = heads_of(work.attended_gradient, s, 0, s.heads);
  tensors.dq = gradients.q;
  tensors.dk = gradients.k;
  tensors.dv = gradients.v;
  return tensors;
}

void AttentionLayer::prepare(const BlockStash& stash) const {
  ops::prepare_attention(context_.ops, backward_tensors(stash), options());
}

void AttentionLayer::attention_backward(const BlockStash& stash) const {
  ops::attention_backward(context_.ops, backward_tensors(stash), options());
  rotate(context_.work.qkv_gradient, true);
}

void AttentionLayer::backward(const BlockStash& stash, const Tensor& branch_gradient,
                              const Tensor& input_gradient) const {
  const ProfiledPart part("attention");
  const WorkBuffers& work = context_.work;
  auto outgoing = context_.exchange.gather_for_product(branch_gradient, work.gathered,
                                                       {"all-gather of attention gradients"});
  auto input = context_.exchange.gather(stash.attention_input, work.regathered,
                                        {"all-gather of attention inputs"});
  output_.backward_input(outgoing, work.attended_gradient);
  output_.backward_weight(outgoing.rows(), stash.attended);
  attention_backward(stash);
  qkv_.backward_weight(work.qkv_gradient, input.rows());
  qkv_.backward_input(work.qkv_gradient, work.gathered, input_gradient);
}

void AttentionLayer::backward_products(ProductList& list) {
  output_products(list.step()).backward_input(list);
  output_products(list.step()).backward_weight(list);
  qkv_products(list.step()).backward_weight(list);
  qkv_products(list.step()).backward_input(list);
}

}  // namespace switchyard
