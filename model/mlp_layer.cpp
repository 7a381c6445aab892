#include "model/mlp_layer.h"

#include <fmt/core.h>

#include "core/ops/activation.h"
#include "core/profiler.h"

namespace switchyard {

namespace {

ParameterGroup up_group(const GptConfig& config, std::span<const Parameter> parameters,
                        int64_t layer, const char* kind) {
  const auto name = [&](const char* part) {
    return layer_name(layer, fmt::format("mlp.{}.{}", part, kind));
  };
  if (config.activation != ops::Activation::swiglu) return {parameters, {name("up")}};
  return {parameters, {name("gate"), name("up")}};
}

bool fuses_gelu(const GptConfig& config) { return config.activation == ops::Activation::gelu_tanh; }

ColumnParallelLinear::Products up_products(const StepShape& step) {
  return {"MLP up", step.sizes.hidden, step.sizes.up_width, step.config.has_mlp_bias()};
}

RowParallelLinear::Products down_products(const StepShape& step) {
  return {"MLP down", step.sizes.ffn, step.sizes.hidden};
}

}  // namespace

MlpLayer::MlpLayer(StageContext& context, std::span<const Parameter> parameters, int64_t layer)
    : context_(context),
      up_(context, up_group(context.config, parameters, layer, "weight"),
          context.config.has_mlp_bias() ? up_group(context.config, parameters, layer, "bias")
                                        : ParameterGroup()),
      down_(context, ParameterGroup(parameters, {layer_name(layer, "mlp.down.weight")})) {}

void MlpLayer::forward(BlockStash& stash, const Tensor& branch) const {
  const ProfiledPart part("MLP");
  auto input = context_.exchange.gather_for_product(stash.mlp_input, context_.work.gathered,
                                                    {"all-gather of MLP inputs"});
  if (fuses_gelu(context_.config)) {
    up_.forward_gelu(input, stash.up, stash.activated);
  } else {
    up_.forward(input, stash.up);
    ops::activation_forward(context_.ops, context_.config.activation, stash.up, stash.activated);
  }
  down_.forward(stash.activated, context_.work.gathered, branch);
}

void MlpLayer::forward_products(ProductList& list) {
  const auto up = up_products(list.step());
  if (fuses_gelu(list.step().config)) {
    up.forward_gelu(list);
  } else {
    up.forward(list);
  }
  down_products(list.step()).forward(list);
}

// The gradient of the activation's input from that of all rows of the branch.
Tensor MlpLayer::up_gradient(const BlockStash& stash,
                             RowExchange::Gathering& branch_gradient) const {
  const Tensor& gradient = context_.work.activated_gradient;
  if (fuses_gelu(context_.config)) {
    down_.backward_gelu(branch_gradient, stash.up, gradient);
    return gradient;
  }
  down_.backward_input(branch_gradient, gradient);
  ops::activation_backward(context_.ops, context_.config.activation, stash.up, gradient, stash.up);
  return stash.up;
}

void MlpLayer::backward(const BlockStash& stash, const Tensor& branch_gradient,
                        const Tensor& input_gradient) const {
  const ProfiledPart part("MLP");
  const WorkBuffers& work = context_.work;
  auto outgoing = context_.exchange.gather_for_product(branch_gradient, work.gathered,
                                                       {"all-gather of MLP gradients"});
  auto input =
      context_.exchange.gather(stash.mlp_input, work.regathered, {"all-gather of MLP inputs"});
  const Tensor gradient = up_gradient(stash, outgoing);
  down_.backward_weight(outgoing.rows(), stash.activated);
  up_.backward_weight(gradient, input.rows());
  up_.backward_input(gradient, work.gathered, input_gradient);
}

void MlpLayer::backward_products(ProductList& list) {
  const auto up = up_products(list.step());
  const auto down = down_products(list.step());
  if (fuses_gelu(list.step().config)) {
    down.backward_gelu(list);
  } else {
    down.backward_input(list);
  }
  down.backward_weight(list);
  up.backward_weight(list);
  up.backward_input(list);
}

}  // namespace switchyard
