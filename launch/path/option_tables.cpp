#include <cmath>

#include "launch/path/options.h"
#include "launch/path/path_lock.h"
#include "optim/schedule.h"

// The options of a path but for its model (model_options.cpp), and those of a start.
namespace switchyard {

namespace {

using enum OptionKind;

AllowedValues count() { return between(1, int64_t{1} << 31); }

AllowedValues beta() {
  return numbers("0 <= beta < 1 (in fp32)", [](double v) {
    const auto rounded = static_cast<float>(v);
    return rounded >= 0 && rounded < 1;
  });
}

AllowedValues positive_in_fp32() {
  return numbers("a positive number (in fp32)", [](double v) {
    const auto rounded = static_cast<float>(v);
    return rounded > 0 && std::isfinite(rounded);
  });
}

AllowedValues decay_style() {
  std::vector<std::string> names;
  for (const auto style :
       {DecayStyle::constant, DecayStyle::cosine, DecayStyle::linear, DecayStyle::one_minus_sqrt}) {
    names.emplace_back(name_of(style));
  }
  return with_hint(one_of(std::move(names)), [](const std::string& value) -> std::string {
    if (value == "inverse-square-root") return "; that is not there yet";
    if (value == "WSD") return "; a main path keeps its rate, and a branch of it decays: fork";
    return value == "minus-sqrt" ? "; it is 1-sqrt here" : "";
  });
}

AllowedValues one_or_more(const char* hint) {
  return with_hint(at_least(1), [hint](const std::string&) { return hint; });
}

std::vector<OptionSpec> data_options() {
  const auto group = OptionGroup::data;
  return {
      {.name = "data-path",
       .kind = list,
       .group = group,
       .help = "PREFIX of a token set, or WEIGHT PREFIX pairs of a blend"},
      {.name = "split",
       .kind = text,
       .group = group,
       .fallback = "1",
       .help = "division of the windows, such as 99,1: training, validation",
       .fork = OnFork::with_data},
      {.name = "seq-length",
       .kind = integer,
       .group = group,
       .help = "tokens of a sample",
       .allowed = count(),
       .fork = OnFork::with_data},
      {.name = "global-batch-size",
       .kind = integer,
       .group = group,
       .help = "samples of a step",
       .allowed = count()},
      {.name = "seed",
       .kind = integer,
       .group = group,
       .fallback = "1234",
       .help = "of initial weights, dropout and sample order (a branch: the latter two)",
       .allowed = at_least(0)},
  };
}

std::vector<OptionSpec> schedule_options() {
  const auto group = OptionGroup::schedule;
  return {
      {.name = "lr",
       .kind = real,
       .group = group,
       .help = "the maximal learning rate; of a branch: from its first step on",
       .allowed = at_least(0)},
      {.name = "min-lr",
       .kind = real,
       .group = group,
       .fallback = "0",
       .help = "the rate at a decay's end",
       .allowed = at_least(0)},
      {.name = "lr-warmup-iters",
       .kind = integer,
       .group = group,
       .fallback = "0",
       .help = "steps of linear warm-up: from 0, or from a fork's rate",
       .allowed = at_least(0)},
      {.name = "lr-decay-style",
       .kind = text,
       .group = group,
       .fallback = "constant",
       .help = "constant (a main path), cosine, linear, 1-sqrt",
       .allowed = decay_style()},
      {.name = "lr-decay-iters",
       .kind = integer,
       .group = group,
       .help = "steps from the start or fork to the decay's end, those of a warm-up among them",
       .allowed = at_least(1)},
  };
}

std::vector<OptionSpec> optimizer_options() {
  const auto group = OptionGroup::optimizer;
  return {
      {.name = "weight-decay",
       .kind = real,
       .group = group,
       .fallback = "0.01",
       .help = "decoupled; not on norms and biases",
       .allowed = at_least(0)},
      {.name = "adam-beta1",
       .kind = real,
       .group = group,
       .fallback = "0.9",
       .help = "decay of the first moment",
       .allowed = beta()},
      {.name = "adam-beta2",
       .kind = real,
       .group = group,
       .fallback = "0.999",
       .help = "decay of the second moment",
       .allowed = beta()},
      {.name = "adam-eps",
       .kind = real,
       .group = group,
       .fallback = "1e-8",
       .help = "added to the root of the second moment",
       .allowed = positive_in_fp32()},
      {.name = "clip-grad",
       .kind = real,
       .group = group,
       .fallback = "1",
       .help = "largest gradient norm; 0: no clipping",
       .allowed = at_least(0)},
  };
}

std::vector<OptionSpec> precision_options() {
  const auto group = OptionGroup::precision;
  return {
      {.name = "bf16",
       .kind = flag,
       .group = group,
       .help = "bf16 weights and activations over an fp32 master copy",
       .fork = OnFork::keeps},
      {.name = "fp16",
       .kind = flag,
       .group = group,
       .help = "fp16 instead, with dynamic loss scale; on GPUs",
       .fork = OnFork::keeps},
      {.name = "initial-loss-scale",
       .kind = real,
       .group = group,
       .fallback = "4294967296",
       .help = "fp16: the loss scale to begin with",
       .allowed = above(0)},
      {.name = "min-loss-scale",
       .kind = real,
       .group = group,
       .fallback = "1",
       .help = "fp16: the loss scale never falls below",
       .allowed = above(0)},
      {.name = "loss-scale-window",
       .kind = integer,
       .group = group,
       .fallback = "1000",
       .help = "fp16: good steps in a row that double it",
       .allowed = at_least(1)},
      {.name = "hysteresis",
       .kind = integer,
       .group = group,
       .fallback = "2",
       .help = "fp16: overflows until it is halved",
       .allowed = at_least(1)},
  };
}

void append(std::vector<OptionSpec>& all, std::vector<OptionSpec> more) {
  all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

}  // namespace

std::vector<OptionSpec> training_options() {
  auto all = data_options();
  append(all, schedule_options());
  append(all, optimizer_options());
  append(all, precision_options());
  return all;
}

std::vector<OptionSpec> path_options() {
  auto all = model_options();
  append(all, training_options());
  return all;
}

std::vector<OptionSpec> layout_options() {
  const auto group = OptionGroup::layout;
  return {
      {.name = "tensor-model-parallel-size,tp",
       .kind = integer,
       .group = group,
       .fallback = "1",
       .help = "ranks that share each layer",
       .allowed = at_least(1)},
      {.name = "pipeline-model-parallel-size,pp",
       .kind = integer,
       .group = group,
       .fallback = "1",
       .help = "stages of layers",
       .allowed = at_least(1)},
      {.name = "pipeline-layers",
       .kind = text,
       .group = group,
       .help = "layers of each stage, such as 5,7 (balanced by their cost)",
       .megatron = "-"},
      {.name = "micro-batch-size",
       .kind = integer,
       .group = group,
       .fallback = "1",
       .help = "samples computed at once",
       .allowed = at_least(1)},
      {.name = "device",
       .kind = text,
       .group = group,
       .help = "cpu or cuda (cuda where there is a GPU)",
       .allowed = one_of({"cpu", "cuda"}),
       .megatron = "-"},
      {.name = "head-chunk-size",
       .kind = integer,
       .group = group,
       .fallback = "0",
       .help = "token rows whose logits live at once; 0: all of a micro-batch",
       .allowed = at_least(0),
       .megatron = "-"},
      {.name = "tp-comm-overlap",
       .kind = flag,
       .group = group,
       .help = "tensor-parallel exchanges in chunks beside matrix products; its gain was never "
               "measured"},
      {.name = "tp-comm-chunks",
       .kind = integer,
       .group = group,
       .fallback = "4",
       .help = "with --tp-comm-overlap: at most so many chunks",
       .allowed = at_least(1),
       .megatron = "-"},
      {.name = "allow-tf32",
       .kind = flag,
       .group = group,
       .help = "fp32 products on a GPU in TF32",
       .megatron = "-"},
      {.name = "no-deterministic",
       .kind = flag,
       .group = group,
       .help = "kernels that may give other bits each time",
       .megatron = "-"},
      {.name = "attention-backend",
       .kind = text,
       .group = group,
       .fallback = "auto",
       .help = "on a GPU: auto, own (kernels of this program) or cudnn",
       .allowed =
           with_hint(one_of({"auto", "own", "cudnn"}),
                     [](const std::string&) { return ": each is fused (flash) attention"; })},
      {.name = "distributed-timeout-minutes",
       .kind = integer,
       .group = group,
       .fallback = "10",
       .help = "an exchange may take so long",
       .allowed = between(1, 60 * 24 * 365)},
      {.name = "distributed-timeout-seconds",
       .kind = integer,
       .group = group,
       .help = "the same in seconds, instead",
       .allowed = between(1, 60 * 60 * 24 * 365),
       .megatron = "-"},
      {.name = "interface",
       .kind = text,
       .group = group,
       .help = "the network interface that ranks without MPI talk over (the one that leads to rank "
               "0); on GPUs NCCL's, where NCCL_SOCKET_IFNAME is not set; MPI has its own options",
       .megatron = "-"},
  };
}

std::vector<OptionSpec> run_options() {
  const auto group = OptionGroup::run;
  auto options = layout_options();
  append(
      options,
      {
          {.name = "train-iters",
           .kind = integer,
           .group = group,
           .help = "the step to stop at (a decay's end; else none)",
           .allowed = at_least(1)},
          {.name = "save-interval",
           .kind = integer,
           .group = group,
           .fallback = "1000",
           .help = "steps between checkpoints; 0: only when stopping",
           .allowed = at_least(0),
           .remembered = true},
          {.name = "exit-interval",
           .kind = integer,
           .group = group,
           .help = "behind a step that is a multiple of it: save and end with code 75",
           .allowed = at_least(1)},
          {.name = "exit-duration-in-mins",
           .kind = integer,
           .group = group,
           .help =
               "behind the first step that ends so many minutes after the program's start: save "
               "and end with code 75",
           .allowed = between(1, 60 * 24 * 365)},
          {.name = "load-step",
           .kind = integer,
           .group = group,
           .help = "the saved step to go on from (the latest)",
           .allowed = at_least(0),
           .megatron = "ckpt-step"},
          {.name = "accept-replay",
           .kind = flag,
           .group = group,
           .help =
               "a branch's first start goes on where steps that it makes again differ from their "
               "record",
           .megatron = "-"},
          {.name = "keep-checkpoints",
           .kind = integer,
           .group = group,
           .fallback = "0",
           .help = "keep only so many of the latest; fork points stay; 0: all",
           .allowed = at_least(0),
           .megatron = "-",
           .remembered = true},
          {.name = "keep-every",
           .kind = integer,
           .group = group,
           .fallback = "0",
           .help = "with --keep-checkpoints: multiples of it stay for good; 0: none besides",
           .allowed = at_least(0),
           .megatron = "-",
           .remembered = true},
          {.name = "keep-moments",
           .kind = integer,
           .group = group,
           .fallback = "0",
           .help = "only so many of the latest keep Adam's moments; fork points do; 0: all",
           .allowed = at_least(0),
           .megatron = "-",
           .remembered = true},
          {.name = "log-interval",
           .kind = integer,
           .group = group,
           .help = "steps between lines on the console (a line each second)",
           .allowed = at_least(1),
           .remembered = true},
          {.name = "log-stragglers",
           .kind = integer,
           .group = group,
           .fallback = "0",
           .help = "steps between lines that name the ranks that the others wait for; 0: none",
           .allowed = at_least(0),
           .megatron = "log-straggler",
           .remembered = true},
          {.name = "check-weight-hash-across-dp-replicas-interval",
           .kind = integer,
           .group = group,
           .fallback = "0",
           .help = "steps between comparisons of the weights that several ranks hold alike, also "
                   "before each save; 0: none",
           .allowed = at_least(0),
           .remembered = true},
          {.name = "health-check",
           .kind = flag,
           .group = group,
           .help = "measure each rank's products, copies and exchanges before the first step",
           .megatron = "-"},
          {.name = "health-check-interval",
           .kind = integer,
           .group = group,
           .fallback = "0",
           .help = "steps between such measurements; 0: none",
           .allowed = at_least(0),
           .megatron = "-",
           .remembered = true},
          {.name = "eval-interval",
           .kind = integer,
           .group = group,
           .fallback = "0",
           .help =
               "steps between validations; 0: none (1000 with --valid-data-path or --split A,B)",
           .allowed = at_least(0),
           .remembered = true},
          {.name = "eval-iters",
           .kind = integer,
           .group = group,
           .fallback = "10",
           .help = "global batches of a validation, of all its sets by their weights",
           .allowed = one_or_more(" (--eval-interval 0 validates nothing)"),
           .remembered = true},
          {.name = "tensorboard",
           .kind = text,
           .group = group,
           .fallback = "none",
           .help = "DIR for TensorBoard's event files, of each path in a folder of its own; none",
           .megatron = "tensorboard-dir",
           .remembered = true},
          {.name = "average",
           .kind = list,
           .group = group,
           .help = "averages of the weights while training: ema:beta=B,every=N lawa:k=K,every=N "
                   "swa:from=STEP,every=N running, each also as NAME=...; kept until dropped",
           .megatron = "-"},
          {.name = "average-device",
           .kind = text,
           .group = group,
           .help = "on a GPU: the memory that averages are in, gpu (the usual one) or host",
           .allowed = one_of({"gpu", "host"}),
           .megatron = "-"},
          {.name = "drop-average",
           .kind = list,
           .group = group,
           .help = "names of averages that end here",
           .megatron = "-"},
          {.name = "on-spike",
           .kind = text,
           .group = group,
           .fallback = "warn",
           .help = "of the loss: warn, or stop before such a step is saved",
           .allowed = one_of({"warn", "stop"}),
           .megatron = "-",
           .remembered = true},
          {.name = "no-matmul-tuning",
           .kind = flag,
           .group = group,
           .help = "on a GPU: the library's own choice of algorithms, nothing is timed",
           .megatron = "-"},
          {.name = "cuda-graph",
           .kind = flag,
           .group = group,
           .help = "on a GPU: replay captured steps; off as its gain was never measured",
           .megatron = "-"},
          {.name = "valid-data-path",
           .kind = list,
           .group = group,
           .help = "PREFIX or WEIGHT PREFIX pairs for validation (the split's second part)",
           .remembered = true},
          lock_wait_option(),
      });
  return options;
}

}  // namespace switchyard
