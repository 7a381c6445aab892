#include "launch/specification.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <set>

#include "core/error.h"
#include "core/logging.h"

namespace switchyard {

namespace {

// Model options whose change leaves every tensor's name and shape as it is.
const std::set<std::string> free_model_options = {"hidden-dropout", "attention-dropout"};

// Model options as a whole: preset first, what is given over it, derived fields last.
Settings resolve_model(const Settings& given, int64_t data_vocabulary) {
  Settings model = settings_of(GptConfig{});
  if (given.has("preset")) {
    model = settings_of(preset(given.text("preset")));
    const auto reset_if = [&](const char* cause, std::initializer_list<const char*> derived) {
      if (!given.has(cause)) return;
      for (const char* name : derived) model.set_text(name, "0");
    };
    reset_if("hidden-size", {"kv-channels", "ffn-hidden-size"});
    reset_if("num-attention-heads", {"kv-channels", "num-query-groups"});
  }
  for (const auto& spec : model_options()) {
    if (given.has(spec.name)) model.set(spec, given.list(spec.name));
  }
  if (given.flag("swiglu")) model.set_text("activation", "swiglu");
  const int64_t wanted = given.has("vocab-size") ? given.integer("vocab-size") : 0;
  check(wanted == 0 || wanted >= data_vocabulary, "path",
        "--vocab-size {}, but the data's vocabulary is {}; it must not be smaller", wanted,
        data_vocabulary);
  model.set_text("vocab-size", std::to_string(std::max(wanted, data_vocabulary)));
  model.erase("preset");
  model.erase("swiglu");
  return model;
}

void require_shape(const Settings& given) {
  if (given.has("preset")) return;
  for (const char* name : {"num-layers", "hidden-size", "num-attention-heads"}) {
    check(given.has(name), "path",
          "a new path needs --preset, or --num-layers, --hidden-size and "
          "--num-attention-heads; --{} is missing",
          name);
  }
}

void check_schedule_options(const Settings& s, const char* decay_meaning) {
  const auto style = decay_style_named(s.text("lr-decay-style"));
  check(style == DecayStyle::constant || s.has("lr-decay-iters"), "path",
        "--lr-decay-style {} without --lr-decay-iters; give {}", name_of(style), decay_meaning);
  check(style != DecayStyle::constant || !s.has("lr-decay-iters"), "path",
        "--lr-decay-iters {} with --lr-decay-style constant; it is for cosine, linear and 1-sqrt",
        s.has("lr-decay-iters") ? s.text("lr-decay-iters") : "");
}

void check_numbers(const Settings& s) {
  const auto at_least = [&](const char* name, double least) {
    check(s.real(name) >= least, "path", "--{} {}; at least {} is allowed", name, s.text(name),
          least);
  };
  constexpr int64_t most = int64_t{1} << 31;
  for (const char* name : {"seq-length", "global-batch-size"}) {
    check(s.integer(name) >= 1 && s.integer(name) <= most, "path", "--{} {}; 1 to {} is allowed",
          name, s.text(name), most);
  }
  for (const char* name :
       {"lr", "min-lr", "lr-warmup-iters", "weight-decay", "clip-grad", "seed"}) {
    at_least(name, 0);
  }
  for (const char* name : {"adam-beta1", "adam-beta2"}) {
    const auto beta = static_cast<float>(s.real(name));
    check(beta >= 0 && beta < 1, "path", "--{} {}; 0 <= beta < 1 (in fp32) is allowed", name,
          s.text(name));
  }
  const auto epsilon = static_cast<float>(s.real("adam-eps"));
  check(epsilon > 0 && std::isfinite(epsilon), "path",
        "--adam-eps {}; a positive number (in fp32) is allowed", s.text("adam-eps"));
}

const char* precision_name(DType dtype) {
  if (dtype == DType::f16) return "fp16";
  return dtype == DType::bf16 ? "bf16" : "fp32";
}

constexpr std::array loss_scale_options = {"initial-loss-scale", "min-loss-scale",
                                           "loss-scale-window", "hysteresis"};

void check_precision(const Settings& s) {
  check(!(s.flag("bf16") && s.flag("fp16")), "path",
        "--bf16 and --fp16 together; one of them is allowed");
  if (!s.flag("fp16")) return;
  const double initial = s.real("initial-loss-scale"), least = s.real("min-loss-scale");
  check(least > 0 && initial >= least && initial <= 0x1p100, "path",
        "--initial-loss-scale {} --min-loss-scale {}; 0 < min <= initial <= 2^100 is allowed",
        s.text("initial-loss-scale"), s.text("min-loss-scale"));
  for (const char* name : {"loss-scale-window", "hysteresis"}) {
    check(s.integer(name) >= 1, "path", "--{} {}; at least 1 is allowed", name, s.text(name));
  }
}

// Only a path in fp16 has a loss scale; another one is the same path whatever is said of it.
void drop_unused_loss_scale(Settings& s) {
  if (s.flag("fp16")) return;
  for (const char* name : loss_scale_options) s.erase(name);
}

void check_positions(const PathSpecification& path) {
  const auto& m = path.model;
  check(m.positions == Positions::rotary || path.sequence_length() <= m.max_positions, "path",
        "--seq-length {} with {} learned positions; at most as many are allowed",
        path.sequence_length(), m.max_positions);
}

std::string absolute(const std::string& prefix) {
  return std::filesystem::absolute(prefix).lexically_normal().string();
}

std::string show(const std::vector<std::string>& values) {
  return fmt::format("{}", fmt::join(values, " "));
}

// The number of training options in one Settings, defaults filled in.
Settings training_settings(const Settings& given) {
  Settings all;
  for (const auto& spec : training_options()) {
    if (given.has(spec.name)) all.set(spec, given.list(spec.name));
  }
  all = with_fallbacks(training_options(), all);
  for (const char* name : loss_scale_options) {
    check(!given.has(name) || all.flag("fp16"), "path", "--{} {}; it is allowed with --fp16", name,
          given.has(name) ? given.text(name) : "");
  }
  drop_unused_loss_scale(all);
  return all;
}

void adopt_model(PathSpecification& path, const Settings& model) {
  for (const auto& [name, values] : model.all()) path.settings.set_text(name, values.front());
  path.model = config_of(path.settings);
  path.model.validate();
  const Settings resolved = settings_of(path.model);
  for (const auto& [name, values] : resolved.all()) path.settings.set_text(name, values.front());
}

}  // namespace

int64_t PathSpecification::decay_end() const {
  return schedule.style == DecayStyle::constant ? 0 : schedule.decay_begin + schedule.decay_iters;
}

std::vector<DataSource> parse_sources(const std::vector<std::string>& values) {
  const std::string allowed = "one PREFIX, or pairs of a positive weight and a PREFIX, are allowed";
  if (values.size() == 1) return {{absolute(values[0]), 1.0, ""}};
  check(!values.empty() && values.size() % 2 == 0, "data", "--data-path {}: {} values; {}",
        show(values), values.size(), allowed);
  std::vector<DataSource> sources;
  for (size_t i = 0; i < values.size(); i += 2) {
    Settings weight;
    try {
      weight.set({"weight", OptionKind::real, OptionGroup::run, "", ""}, {values[i]});
    } catch (const Error&) {
      fail("data", "--data-path {}: '{}' is not a weight; {}", show(values), values[i], allowed);
    }
    sources.push_back({absolute(values[i + 1]), weight.real("weight"), ""});
  }
  return sources;
}

TrainingData open_training_data(const PathSpecification& path) {
  return TrainingData(path.stages, path.sequence_length(), path.seed(), path.split,
                      path.model.vocabulary);
}

std::unique_ptr<EvaluationData> open_evaluation_data(const PathSpecification& path,
                                                     const std::vector<std::string>& prefixes) {
  auto data =
      std::make_unique<EvaluationData>(prefixes, path.sequence_length(), path.model.vocabulary);
  const std::string& theirs = data->info().tokenizer;
  check(theirs.empty() || path.tokenizer.empty() || theirs == path.tokenizer, "data",
        "{} was made by the tokenizer '{}'; the path's is '{}'", show(prefixes), theirs,
        path.tokenizer);
  return data;
}

namespace {

// The training options of a new path, checked; `lr` may be missing where nothing is trained.
PathSpecification begin_path(const Settings& given) {
  require_shape(given);
  PathSpecification path;
  path.settings = training_settings(given);
  if (!path.settings.has("seq-length") && given.has("preset")) {
    path.settings.set_text("seq-length",
                           std::to_string(preset_sequence_length(given.text("preset"))));
  }
  for (const char* name : {"seq-length", "global-batch-size", "lr"}) {
    check(path.settings.has(name), "path", "a new path needs --{}", name);
  }
  check_numbers(path.settings);
  check_precision(path.settings);
  check_schedule_options(path.settings, "the step at which the decay ends");
  path.split = Split::parse(path.settings.text("split"));
  return path;
}

// The model and the schedule, for data of this vocabulary.
void finish_path(PathSpecification& path, const Settings& given, int64_t vocabulary) {
  Settings with_positions = given;
  if (!given.has("max-position-embeddings") && !given.has("preset")) {
    with_positions.set_text("max-position-embeddings", path.settings.text("seq-length"));
  }
  adopt_model(path, resolve_model(with_positions, vocabulary));
  for (const char* name : {"rotary-base", "rotary-percent"}) {
    check(!given.has(name) || path.model.positions == Positions::rotary, "path",
          "--{} {} with learned positions; it is allowed with --position-embedding-type rope", name,
          given.has(name) ? given.text(name) : "");
  }
  check_positions(path);
  const auto& s = path.settings;
  path.schedule =
      schedule_from_scratch(s.real("lr"), s.real("min-lr"), s.integer("lr-warmup-iters"),
                            decay_style_named(s.text("lr-decay-style")),
                            s.has("lr-decay-iters") ? s.integer("lr-decay-iters") : 0);
  path.settings.erase("data-path");
}

}  // namespace

PathSpecification new_path(const Settings& given) {
  check(given.has("data-path"), "path",
        "this path does not exist; a new one needs --data-path (is the name right?)");
  PathSpecification path = begin_path(given);
  path.stages = {{0, parse_sources(given.list("data-path"))}};
  const TrainingData data(path.stages, path.sequence_length(), path.seed(), path.split,
                          given.has("vocab-size") ? given.integer("vocab-size") : 0);
  path.stages = data.stages();
  path.tokenizer = data.info().tokenizer;
  finish_path(path, given, data.info().vocabulary);
  return path;
}

PathSpecification path_without_data(Settings given) {
  if (!given.has("lr")) given.set_text("lr", "0.0");
  check(given.has("vocab-size") || given.has("preset"), "path",
        "without --data-path the vocabulary is unknown; give --vocab-size or a --preset");
  PathSpecification path = begin_path(given);
  finish_path(path, given,
              given.has("vocab-size") ? given.integer("vocab-size")
                                      : preset(given.text("preset")).vocabulary);
  return path;
}

namespace {

void fork_data(PathSpecification& path, int64_t samples, const Settings& given) {
  if (!given.has("data-path")) {
    for (const char* name : {"seq-length", "split"}) {
      check(!given.has(name) || given.text(name) == path.settings.text(name), "fork",
            "--{} {} over a parent's {} would read its data anew in other windows; give the "
            "branch its own --data-path with it",
            name, given.has(name) ? given.text(name) : "", path.settings.text(name));
    }
    return;
  }
  // A stage with which the parent was extended at this very step has been read by nobody yet.
  std::erase_if(path.stages, [&](const DataStage& s) { return s.first_sample >= samples; });
  path.stages.push_back({samples, parse_sources(given.list("data-path"))});
}

void fork_settings(PathSpecification& path, const Settings& given) {
  for (const auto& spec : model_options()) {
    if (!given.has(spec.name) || spec.name == "preset" || spec.name == "swiglu") continue;
    const bool same =
        path.settings.has(spec.name) && path.settings.list(spec.name) == given.list(spec.name);
    check(same || free_model_options.contains(spec.name), "fork",
          "--{} {}, but the parent has {}; a branch keeps its parent's tensors", spec.name,
          show(given.list(spec.name)),
          path.settings.has(spec.name) ? path.settings.text(spec.name) : "none");
    path.settings.set(spec, given.list(spec.name));
  }
  check(!given.has("preset") && !given.flag("swiglu"), "fork",
        "--preset and --swiglu are for new paths; a branch keeps its parent's tensors");
  for (const char* name : {"bf16", "fp16"}) {
    check(!given.has(name) || given.flag(name) == path.settings.flag(name), "fork",
          "--{} over a parent in {}; a branch keeps its parent's tensors", name,
          precision_name(path.dtype()));
  }
  for (const char* name : loss_scale_options) {
    check(!given.has(name) || path.settings.flag("fp16"), "fork",
          "--{} {} over a parent in {}; it is allowed in fp16", name,
          given.has(name) ? given.text(name) : "", precision_name(path.dtype()));
  }
  for (const auto& spec : training_options()) {
    if (given.has(spec.name)) path.settings.set(spec, given.list(spec.name));
  }
  path.model = config_of(path.settings);
  path.model.validate();
}

void fork_schedule(PathSpecification& path, const LineageEntry& entry, const Settings& given,
                   const Schedule& parent) {
  const bool changed =
      std::ranges::any_of(std::initializer_list<const char*>{"lr", "min-lr", "lr-warmup-iters",
                                                             "lr-decay-style", "lr-decay-iters"},
                          [&](const char* name) { return given.has(name); });
  if (!changed) return;
  auto& s = path.settings;
  // The parent's own count of steps means another stretch than this branch's.
  s.erase("lr-decay-iters");
  if (given.has("lr-decay-iters")) s.set_text("lr-decay-iters", given.text("lr-decay-iters"));
  check_schedule_options(s, "the steps that the branch decays");
  const bool decays = s.text("lr-decay-style") != "constant";
  const auto keep = [&](const char* name, double parents) {
    check(!decays || !given.has(name) || given.real(name) == parents, "fork",
          "--{} {} with --lr-decay-style {}; a branch decays from its parent's rate at the fork "
          "point, so only the parent's {} is allowed with it",
          name, given.has(name) ? given.text(name) : "", s.text("lr-decay-style"), parents);
  };
  keep("lr", parent.maximum);
  keep("lr-warmup-iters", static_cast<double>(parent.warmup));
  path.schedule =
      schedule_from_fork(parent, entry.step, s.real("lr"), s.real("min-lr"),
                         s.integer("lr-warmup-iters"), decay_style_named(s.text("lr-decay-style")),
                         s.has("lr-decay-iters") ? s.integer("lr-decay-iters") : 0);
}

}  // namespace

PathSpecification fork_path(const PathSpecification& parent, const LineageEntry& entry,
                            const Settings& given) {
  PathSpecification path = parent;
  check(parent.kind == "path", "fork", "an average has weights only; fork a path's saved step");
  fork_data(path, entry.samples, given);
  fork_settings(path, given);
  path.settings.erase("data-path");
  check_numbers(path.settings);
  check_precision(path.settings);
  check_positions(path);
  fork_schedule(path, entry, given, parent.schedule);
  path.split = Split::parse(path.settings.text("split"));
  path.lineage.push_back(entry);
  const TrainingData data = open_training_data(path);
  path.stages = data.stages();
  return path;
}

namespace {

std::string describe(const std::vector<DataSource>& sources) {
  std::string text;
  for (const auto& s : sources) {
    text += fmt::format("{}{} {} (identity {})", text.empty() ? "" : ", ", s.weight, s.prefix,
                        s.identity);
  }
  return text;
}

// The same sets with the same weights, wherever they lie.
bool is_same_blend(const std::vector<DataSource>& a, const std::vector<DataSource>& b) {
  return std::ranges::equal(a, b, [](const DataSource& x, const DataSource& y) {
    return x.identity == y.identity && x.weight == y.weight;
  });
}

// Data given anew must be those of one of the path's stages; they may have moved.
void check_data(PathSpecification& path, const Settings& given) {
  auto sources = parse_sources(given.list("data-path"));
  for (auto& source : sources) {
    source.identity = TokenDataset::open(source.prefix, path.model.vocabulary).identity();
  }
  const auto stage = std::ranges::find_if(path.stages, [&](const DataStage& candidate) {
    return is_same_blend(candidate.sources, sources);
  });
  check(stage != path.stages.end(), "path",
        "--data-path {} is another set than the path's {}; use fork or extend for other data",
        describe(sources), describe(path.stages.back().sources));
  for (auto& each : path.stages) {
    for (auto& mine : each.sources) {
      for (const auto& source : sources) {
        if (mine.identity == source.identity) mine.prefix = source.prefix;
      }
    }
  }
}

}  // namespace

void check_against(PathSpecification& path, const Settings& given) {
  auto specs = model_options();
  const auto training = training_options();
  specs.insert(specs.end(), training.begin(), training.end());
  Settings wanted = given;
  if (given.has("preset")) {
    wanted = resolve_model(given, path.model.vocabulary);
    for (const auto& [name, values] : given.all()) {
      if (name != "preset") wanted.set_text(name, values.front());
    }
  }
  if (given.flag("swiglu")) wanted.set_text("activation", "swiglu");
  for (const auto& spec : specs) {
    if (!wanted.has(spec.name) || spec.name == "data-path" || spec.name == "swiglu") continue;
    const std::string now =
        path.settings.has(spec.name) ? show(path.settings.list(spec.name)) : "none";
    check(show(wanted.list(spec.name)) == now, "path",
          "--{} {}, but the path was made with {}; a path never changes: fork it", spec.name,
          show(wanted.list(spec.name)), now);
  }
  if (given.has("data-path")) check_data(path, given);
}

}  // namespace switchyard
