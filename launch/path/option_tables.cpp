#include <fmt/ranges.h>

#include "launch/path/options.h"
#include "model/config.h"

namespace switchyard {

std::vector<OptionSpec> model_options() {
  using enum OptionKind;
  const auto group = OptionGroup::model;
  return {
      {"preset", text, group, "",
       fmt::format("a published shape: {}", fmt::join(preset_names(), ", "))},
      {"num-layers", integer, group, "", "transformer layers"},
      {"hidden-size", integer, group, "", "channels of the residual stream"},
      {"num-attention-heads", integer, group, "", "query heads"},
      {"num-query-groups", integer, group, "", "key and value heads (as many as query heads)"},
      {"kv-channels", integer, group, "", "channels of a head (hidden-size / heads)"},
      {"ffn-hidden-size", integer, group, "",
       "channels inside the MLP (4 x hidden-size; swiglu: 8/3 x, down to a multiple of 64)"},
      {"vocab-size", integer, group, "", "tokens are below this (the data's vocabulary)"},
      {"max-position-embeddings", integer, group, "", "learned positions (seq-length)"},
      {"position-embedding-type", text, group, "", "learned_absolute or rope (learned_absolute)"},
      {"rotary-base", real, group, "", "base of the rotary frequencies (10000)"},
      {"rotary-percent", real, group, "", "part of each head that is rotated (1)"},
      {"normalization", text, group, "", "LayerNorm or RMSNorm (LayerNorm)"},
      {"norm-epsilon", real, group, "", "epsilon of the norms (1e-5)"},
      {"activation", text, group, "", "gelu-tanh, gelu-erf or swiglu (gelu-tanh)"},
      {"swiglu", flag, group, "", "the same as --activation swiglu"},
      {"parallel-residual", flag, group, "", "attention and MLP both read the block's input"},
      {"disable-bias-linear", flag, group, "", "projections without biases"},
      {"untie-embeddings-and-output-weights", flag, group, "", "an output layer of its own"},
      {"init-method-std", real, group, "", "deviation of the initial weights (0.02)"},
      {"hidden-dropout", real, group, "", "of the residual branches and the embedding (0)"},
      {"attention-dropout", real, group, "", "of the attention weights (0)"},
  };
}

std::vector<OptionSpec> training_options() {
  using enum OptionKind;
  const auto group = OptionGroup::training;
  return {
      {"data-path", list, group, "", "PREFIX of a token set, or WEIGHT PREFIX pairs of a blend"},
      {"split", text, group, "1", "division of the windows, such as 99,1: training, validation"},
      {"seq-length", integer, group, "", "tokens of a sample"},
      {"global-batch-size", integer, group, "", "samples of a step"},
      {"bf16", flag, group, "", "bf16 weights and activations over an fp32 master copy"},
      {"fp16", flag, group, "", "fp16 instead, with dynamic loss scale; on GPUs"},
      {"initial-loss-scale", real, group, "4294967296", "fp16: the loss scale to begin with"},
      {"min-loss-scale", real, group, "1", "fp16: the loss scale never falls below"},
      {"loss-scale-window", integer, group, "1000", "fp16: good steps in a row that double it"},
      {"hysteresis", integer, group, "2", "fp16: overflows until it is halved"},
      {"seed", integer, group, "1234",
       "of initial weights, dropout and sample order (a branch: the latter two)"},
      {"lr", real, group, "", "the maximal learning rate; of a branch: from its first step on"},
      {"min-lr", real, group, "0", "the rate at a decay's end"},
      {"lr-warmup-iters", integer, group, "0",
       "steps of linear warm-up: from 0, or from a fork's rate"},
      {"lr-decay-style", text, group, "constant", "constant (a main path), cosine, linear, 1-sqrt"},
      {"lr-decay-iters", integer, group, "",
       "steps from the start or fork to the decay's end, those of a warm-up among them"},
      {"weight-decay", real, group, "0.01", "decoupled; not on norms and biases"},
      {"adam-beta1", real, group, "0.9", "decay of the first moment"},
      {"adam-beta2", real, group, "0.999", "decay of the second moment"},
      {"adam-eps", real, group, "1e-8", "added to the root of the second moment"},
      {"clip-grad", real, group, "1", "largest gradient norm; 0: no clipping"},
  };
}

std::vector<OptionSpec> layout_options() {
  using enum OptionKind;
  const auto group = OptionGroup::run;
  return {
      {"tensor-model-parallel-size,tp", integer, group, "1", "ranks that share each layer"},
      {"pipeline-model-parallel-size,pp", integer, group, "1", "stages of layers"},
      {"pipeline-layers", text, group, "",
       "layers of each stage, such as 5,7 (balanced by their cost)"},
      {"micro-batch-size", integer, group, "1", "samples computed at once"},
      {"device", text, group, "", "cpu or cuda (cuda where there is a GPU)"},
      {"head-chunk-size", integer, group, "0",
       "token rows whose logits live at once; 0: all of a micro-batch"},
      {"tp-comm-overlap", flag, group, "",
       "tensor-parallel exchanges in chunks beside matrix products; its gain was never measured"},
      {"tp-comm-chunks", integer, group, "4", "with --tp-comm-overlap: at most so many chunks"},
      {"allow-tf32", flag, group, "", "fp32 products on a GPU in TF32"},
      {"no-deterministic", flag, group, "", "kernels that may give other bits each time"},
      {"attention-backend", text, group, "auto",
       "on a GPU: auto, own (kernels of this program) or cudnn"},
      {"distributed-timeout-minutes", integer, group, "10", "an exchange may take so long"},
  };
}

std::vector<OptionSpec> run_options() {
  using enum OptionKind;
  const auto group = OptionGroup::run;
  auto options = layout_options();
  const std::vector<OptionSpec> more = {
      {"train-iters", integer, group, "", "the step to stop at (a decay's end; else none)"},
      {"save-interval", integer, group, "1000", "steps between checkpoints; 0: only when stopping"},
      {"load-step", integer, group, "", "the saved step to go on from (the latest)"},
      {"keep-checkpoints", integer, group, "0",
       "keep only so many of the latest; fork points stay; 0: all"},
      {"log-interval", integer, group, "",
       "steps between lines on the console (a line each second)"},
      {"eval-interval", integer, group, "0",
       "steps between validations; 0: none (1000 with --valid-data-path or --split A,B)"},
      {"eval-iters", integer, group, "10",
       "global batches of a validation, of all its sets by their weights"},
      {"no-matmul-tuning", flag, group, "",
       "on a GPU: the library's own choice of algorithms, nothing is timed"},
      {"cuda-graph", flag, group, "",
       "on a GPU: replay captured steps; off as its gain was never measured"},
      {"valid-data-path", list, group, "",
       "PREFIX or WEIGHT PREFIX pairs for validation (the split's second part)"},
  };
  options.insert(options.end(), more.begin(), more.end());
  return options;
}

}  // namespace switchyard
