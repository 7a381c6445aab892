#include <cmath>

#include "launch/path/options.h"
#include "optim/schedule.h"

// The options of a path but for its model (model_options.cpp); those of a start are in
// run_option_tables.cpp.
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

}  // namespace switchyard
