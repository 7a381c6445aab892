#include "core/error.h"
#include "launch/path/specification_checks.h"

namespace switchyard {

namespace {

constexpr const char* shape_options[] = {"num-layers", "hidden-size", "num-attention-heads"};
constexpr const char* batch_options[] = {"seq-length", "global-batch-size", "lr"};

}  // namespace

std::string missing_for_new_path(const Settings& given) {
  const bool has_preset = given.has("preset");
  for (const char* name : shape_options) {
    if (!has_preset && !given.has(name)) return name;
  }
  for (const char* name : batch_options) {
    const bool of_preset = has_preset && std::string_view(name) == "seq-length";
    if (!of_preset && !given.has(name)) return name;
  }
  return given.has("data-path") ? "" : "data-path";
}

namespace {

void require_shape(const Settings& given) {
  if (given.has("preset")) return;
  for (const char* name : shape_options) {
    check(given.has(name), "path",
          "a new path needs --preset, or --num-layers, --hidden-size and "
          "--num-attention-heads; --{} is missing",
          name);
  }
}

// Only a path in fp16 has a loss scale; another one is the same path whatever is said of it.
void drop_unused_loss_scale(Settings& s) {
  if (s.flag("fp16")) return;
  for (const char* name : loss_scale_options) s.erase(name);
}

}  // namespace

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

Schedule schedule_of(const Settings& s) {
  return schedule_from_scratch(s.real("lr"), s.real("min-lr"), s.integer("lr-warmup-iters"),
                               decay_style_named(s.text("lr-decay-style")),
                               s.has("lr-decay-iters") ? s.integer("lr-decay-iters") : 0);
}

namespace {

void adopt_model(PathSpecification& path, const Settings& model) {
  for (const auto& [name, values] : model.all()) path.settings.set_text(name, values.front());
  path.model = config_of(path.settings);
  path.model.validate();
  const Settings resolved = settings_of(path.model);
  for (const auto& [name, values] : resolved.all()) path.settings.set_text(name, values.front());
}

// The training options of a new path, checked; `lr` may be missing where nothing is trained.
PathSpecification begin_path(const Settings& given) {
  require_shape(given);
  PathSpecification path;
  path.settings = training_settings(given);
  if (!path.settings.has("seq-length") && given.has("preset")) {
    path.settings.set_text("seq-length",
                           std::to_string(preset_sequence_length(given.text("preset"))));
  }
  for (const char* name : batch_options) {
    check(path.settings.has(name), "path", "a new path needs --{}", name);
  }
  check_precision(path.settings);
  check_schedule_options(path.settings, "the step at which the decay ends");
  path.split = Split::parse(path.settings.text("split"));
  path.seeds = Seeds(path.seed());
  return path;
}

// What is given and would change nothing is refused.
void check_effects(const GptConfig& model, const Settings& given) {
  const auto check_given = [&](const char* name, bool has_effect, const char* without,
                               const char* with) {
    check(has_effect || !given.has(name) || given.text(name) == "false", "path",
          "--{} {} {}; it is allowed with {}", name, given.has(name) ? given.text(name) : "",
          without, with);
  };
  for (const char* name : {"rotary-base", "rotary-percent"}) {
    check_given(name, model.positions == Positions::rotary, "with learned positions",
                "--position-embedding-type rope");
  }
  for (const char* name :
       {"rope-scaling-factor", "rope-scaling-low-freq-factor", "rope-scaling-high-freq-factor",
        "rope-scaling-original-max-position-embeddings"}) {
    check_given(name, model.rope_scaling, "without scaled frequencies", "--use-rope-scaling");
  }
  for (const char* name : {"add-qkv-bias", "add-attention-output-bias", "add-mlp-bias"}) {
    check_given(name, !model.linear_bias, "where all projections have biases",
                "--disable-bias-linear");
  }
}

// The model and the schedule, for data of this vocabulary.
void finish_path(PathSpecification& path, const Settings& given, int64_t vocabulary) {
  Settings with_positions = given;
  if (!given.has("max-position-embeddings") && !given.has("preset")) {
    with_positions.set_text("max-position-embeddings", path.settings.text("seq-length"));
  }
  adopt_model(path, resolve_model(with_positions, vocabulary));
  check_effects(path.model, given);
  check_positions(path);
  check(!given.has("max-position-embeddings") ||
            given.integer("max-position-embeddings") >= path.sequence_length(),
        "path", "--max-position-embeddings {} with --seq-length {}; at least as many are allowed",
        given.has("max-position-embeddings") ? given.text("max-position-embeddings") : "",
        path.sequence_length());
  path.schedule = schedule_of(path.settings);
  path.settings.erase("data-path");
}

}  // namespace

PathSpecification path_as_asked(const Settings& given) {
  check(given.has("data-path"), "path",
        "this path does not exist; a new one needs --data-path (is the name right?)");
  PathSpecification path = begin_path(given);
  path.stages = {{0, parse_sources(given.list("data-path"))}};
  const TrainingData data(path.stages, path.sequence_length(), path.seeds, path.split,
                          given.has("vocab-size") ? given.integer("vocab-size") : 0);
  path.stages = data.stages();
  path.tokenizer = data.info().tokenizer;
  finish_path(path, given, data.info().vocabulary);
  return path;
}

PathSpecification new_path(const Settings& given) {
  PathSpecification path = path_as_asked(given);
  check_rotary_width(path.model);
  return path;
}

std::string describe_positions(const PathSpecification& path) {
  const GptConfig& m = path.model;
  if (m.positions == Positions::learned || m.max_positions == 0 ||
      path.sequence_length() <= m.max_positions) {
    return "";
  }
  return fmt::format(
      "--seq-length {} is longer than the {} positions (--max-position-embeddings) that the model "
      "was made for",
      path.sequence_length(), m.max_positions);
}

std::string describe_minimum(const PathSpecification& path, const Settings& given) {
  if (!given.has("min-lr") || given.real("min-lr") == 0 || path.decay_end() > 0) return "";
  return fmt::format("--min-lr {}: the rate is constant here; branches that decay will end at it",
                     given.text("min-lr"));
}

PathSpecification path_without_data(Settings given) {
  if (!given.has("lr")) given.set_text("lr", "1.0");  // whatever: no rate is used
  check(given.has("vocab-size") || given.has("preset"), "path",
        "without --data-path the vocabulary is unknown; give --vocab-size or a --preset");
  PathSpecification path = begin_path(given);
  finish_path(path, given,
              given.has("vocab-size") ? given.integer("vocab-size")
                                      : preset(given.text("preset")).vocabulary);
  return path;
}

}  // namespace switchyard
