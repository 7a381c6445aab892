#include <algorithm>

#include "core/error.h"
#include "core/logging.h"
#include "launch/path/skip_samples.h"
#include "launch/path/specification_checks.h"
#include "launch/path/specification_from_weights.h"

namespace switchyard {

namespace {

void fork_data(PathSpecification& path, int64_t samples, const Settings& given) {
  if (!given.has("data-path")) {
    for (const auto& spec : path_options()) {
      if (spec.fork != OnFork::with_data || !given.has(spec.name)) continue;
      check(given.text(spec.name) == path.settings.text(spec.name), "fork",
            "--{} {} over a parent's {} would read its data anew in other windows; give the "
            "branch its own --data-path with it",
            spec.name, given.text(spec.name), path.settings.text(spec.name));
    }
    return;
  }
  // A stage with which the parent was extended at this very step has been read by nobody yet.
  std::erase_if(path.stages, [&](const DataStage& s) { return s.first_sample >= samples; });
  path.stages.push_back({samples, parse_sources(given.list("data-path"))});
}

// An option that stays as the parent has it: the names, shapes and dtypes of tensors follow from
// it.
void check_kept(const OptionSpec& spec, const PathSpecification& parent, const Settings& given) {
  if (spec.group == OptionGroup::precision) {
    return check(given.flag(spec.name) == parent.settings.flag(spec.name), "fork",
                 "--{} over a parent in {}; a branch keeps its parent's tensors", spec.name,
                 precision_name(parent.dtype()));
  }
  check(is_same_setting(spec.name, parent.settings, given), "fork",
        "--{} {}, but the parent has {}; a branch keeps its parent's tensors", spec.name,
        show(given.list(spec.name)),
        parent.settings.has(spec.name) ? parent.settings.text(spec.name) : "none");
}

void fork_settings(PathSpecification& path, const Settings& given) {
  for (const char* name : loss_scale_options) {
    check(!given.has(name) || path.settings.flag("fp16"), "fork",
          "--{} {} over a parent in {}; it is allowed in fp16", name,
          given.has(name) ? given.text(name) : "", precision_name(path.dtype()));
  }
  for (const auto& spec : path_options()) {
    if (!given.has(spec.name)) continue;
    check(spec.fork != OnFork::never, "fork",
          "--{} is for new paths; a branch keeps its parent's tensors", spec.name);
    if (spec.fork == OnFork::keeps) check_kept(spec, path, given);
    path.settings.set(spec, given.list(spec.name));
  }
  path.model = config_of(path.settings);
  path.model.validate();
}

// Without a word about a decay, a rate of its own ends the parent's; docs/paths.md has all cases.
void fork_schedule(PathSpecification& path, const LineageEntry& entry, const Settings& given,
                   const Schedule& parent) {
  const auto any_given = [&](std::initializer_list<const char*> names) {
    return std::ranges::any_of(names, [&](const char* name) { return given.has(name); });
  };
  const bool own_rate = any_given({"lr", "lr-warmup-iters"});
  const bool own_decay = any_given({"lr-decay-style", "lr-decay-iters"});
  if (!own_rate && !own_decay && !given.has("min-lr")) return;
  auto& s = path.settings;
  if (own_rate && !own_decay) s.set_text("lr-decay-style", "constant");
  // The parent's own count of steps means another stretch than this branch's.
  s.erase("lr-decay-iters");
  if (given.has("lr-decay-iters")) s.set_text("lr-decay-iters", given.text("lr-decay-iters"));
  check_schedule_options(s, "the steps from the fork to the decay's end");
  const auto style = decay_style_named(s.text("lr-decay-style"));
  if (!given.has("min-lr") && given.has("lr") && s.real("min-lr") > given.real("lr")) {
    check(style == DecayStyle::constant, "fork",
          "--lr {} is below the parent's --min-lr {}; give a --min-lr below the rate that decays",
          given.text("lr"), s.text("min-lr"));
    s.set_text("min-lr", "0");  // of a decay that is not there
  }
  ScheduleChange change{.minimum = s.real("min-lr"),
                        .style = style,
                        .decay_iters = s.has("lr-decay-iters") ? s.integer("lr-decay-iters") : 0};
  if (given.has("lr")) change.maximum = given.real("lr");
  if (given.has("lr-warmup-iters")) change.warmup = given.integer("lr-warmup-iters");
  path.schedule = schedule_from_fork(parent, entry.step, change);
  s.set_text("lr", canonical_real(path.schedule.maximum));
  s.set_text("lr-warmup-iters", std::to_string(path.schedule.warmup));
}

}  // namespace

PathSpecification fork_path(const PathSpecification& parent, const LineageEntry& entry,
                            const Settings& given) {
  if (entry.imported) return path_from_weights(parent, entry, given);
  PathSpecification path = parent;
  path.kind = "path";
  fork_data(path, entry.samples, given);
  if (given.has("skip-samples")) {
    skip_samples(given.text("skip-samples"), entry.samples, path.stages);
  }
  fork_settings(path, given);
  path.settings.erase("data-path");
  check_precision(path.settings);
  check_positions(path);
  fork_schedule(path, entry, given, parent.schedule);
  path.split = Split::parse(path.settings.text("split"));
  // What this epoch has not yet read comes in an order of the new seed's.
  if (path.seed() != parent.seed()) path.seeds.changes.push_back({entry.samples, path.seed()});
  path.lineage.push_back(entry);
  check(
      path.learns_behind_end() || path.end_behind(entry.step) > 0, "fork",
      "step {} is not before the end of the parent's decay, step {}, and the rate is 0 from there "
      "on; give one: --lr L, or --lr-warmup-iters W that leads to a rate",
      entry.step, path.decay_end());
  const TrainingData data = open_training_data(path, entry.step, path.end_behind(entry.step));
  path.stages = data.stages();
  return path;
}

std::vector<std::string> describe_rates(const PathSpecification& parent,
                                        const PathSpecification& branch) {
  const int64_t step = branch.start_step();
  std::vector<std::string> lines = {
      log::folded("learning rate: " + describe_rates(branch.schedule, step))};
  const double before = learning_rate(parent.schedule, step);
  const bool jumps = branch.schedule.warmup_end() <= step && branch.schedule.maximum != before;
  if (jumps && step > 0 && branch.schedule != parent.schedule) {
    lines.push_back(
        fmt::format("the rate goes from {:.6g} at step {} to {:.6g} at once; --lr-warmup-iters W "
                    "leads there in W "
                    "steps",
                    before, step, branch.schedule.maximum));
  }
  if (branch.decay_end() > 0 && branch.end_behind(step) == 0) {
    lines.push_back(
        fmt::format("the decay has ended at step {}: the rate stays at {:.6g} (--min-lr), as far "
                    "as --train-iters says",
                    branch.decay_end(), branch.schedule.minimum));
  }
  return lines;
}

}  // namespace switchyard
