#include "model/mlp_layer.h"

#include <fmt/format.h>

#include "core/ops/activation.h"

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

}  // namespace

MlpLayer::MlpLayer(StageContext& context, std::span<const Parameter> parameters, int64_t layer)
    : context_(context),
      up_(context, up_group(context.config, parameters, layer, "weight"),
          context.config.linear_bias ? up_group(context.config, parameters, layer, "bias")
                                     : ParameterGroup()),
      down_(context, ParameterGroup(parameters, {layer_name(layer, "mlp.down.weight")})) {}

void MlpLayer::forward(BlockStash& stash, const Tensor& branch) const {
  auto input = context_.exchange.gather(stash.mlp_input, context_.work.gathered,
                                        {"all-gather of MLP inputs"});
  up_.forward(input.rows(), stash.up);
  ops::activation_forward(context_.ops, context_.config.activation, stash.up, stash.activated);
  down_.forward(stash.activated, context_.work.gathered, branch);
}

void MlpLayer::backward(const BlockStash& stash, const Tensor& branch_gradient,
                        const Tensor& input_gradient) const {
  const WorkBuffers& work = context_.work;
  auto outgoing =
      context_.exchange.gather(branch_gradient, work.gathered, {"all-gather of MLP gradients"});
  auto input =
      context_.exchange.gather(stash.mlp_input, work.regathered, {"all-gather of MLP inputs"});
  down_.backward_input(outgoing.rows(), work.activated_gradient);
  down_.backward_weight(outgoing.rows(), stash.activated);
  const Tensor& up_gradient = stash.up;
  ops::activation_backward(context_.ops, context_.config.activation, stash.up,
                           work.activated_gradient, up_gradient);
  up_.backward_weight(up_gradient, input.rows());
  up_.backward_input(up_gradient, work.gathered, input_gradient);
}

}  // namespace switchyard
