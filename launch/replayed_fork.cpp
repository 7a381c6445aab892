#include "launch/replayed_fork.h"

#include <algorithm>
#include <map>

#include "core/error.h"
#include "core/files.h"
#include "core/logging.h"
#include "launch/path/fork_point.h"
#include "launch/path/pins.h"
#include "launch/path/problem_of.h"
#include "launch/path/retention.h"
#include "launch/replay_steps.h"
#include "parallel/comm/control_plane.h"

namespace switchyard {

namespace {

// The checkpoint as every rank finds it.
void find_origin(ReplayPlan& plan, const RunFolder& run, const ReplayedFrom& from, bool tells) {
  plan.origin.step = from.step;
  plan.from_weights = from.imported_step.has_value();
  const auto point = find_replay_origin(run, from);
  if (!point) return;
  if (tells && point->damage) log::warning("{}", describe_damage(*point));
  plan.origin_run = point->parent;
  plan.origin = point->entry;
}

// Data sets that have moved since are where the branch has them.
void follow_data(ReplayPlan& plan, const PathSpecification& branch) {
  std::map<std::string, std::string> places;
  for (const DataStage& stage : branch.stages) {
    for (const DataSource& source : stage.sources) places[source.identity] = source.prefix;
  }
  for (ReplaySegment& segment : plan.segments) {
    for (DataStage& stage : segment.path.stages) {
      for (DataSource& source : stage.sources) {
        const auto place = places.find(source.identity);
        if (place != places.end()) source.prefix = place->second;
      }
    }
  }
}

std::string show_both(const StepRecord& made, const StepRecord& recorded, size_t value) {
  return fmt::format("{} {} here and {} in the record", StepRecord::names[value],
                     made.values[value], recorded.values[value]);
}

const std::string& run_of(const ReplayPlan& plan, int64_t step) {
  return std::ranges::find_if(plan.segments, [&](const auto& s) { return step <= s.last; })->run;
}

CheckpointInfo info_of(const ReplayPlan& plan, const PathSpecification& path, double loss) {
  CheckpointInfo info;
  info.step = path.start_step();
  info.samples = path.start_samples();
  info.loss = plan.end() > plan.begin() || !plan.origin_run
                  ? loss
                  : CheckpointReader(plan.origin.folder).info().loss;
  return info;
}

// The fork point is saved: the pin of what it was made from goes, and then the plan, so that a
// start that was killed in between is followed by one that does the rest.
void let_go(const RunFolder& run, const ReplayedFrom& from) {
  std::error_code ignored;
  const auto file = run.folder() / replay_file;
  if (!std::filesystem::exists(file, ignored)) return;
  try {
    const auto point = find_replay_origin(run, from);
    if (point) remove_pin(point->parent.folder(), from.saved_step(), run.folder());
  } catch (const Error&) {  // gone, and its pins with it
  }
  std::filesystem::remove(file, ignored);
}

std::string read_plan(const RunFolder& run) {
  const auto file = run.folder() / replay_file;
  std::error_code ignored;
  if (std::filesystem::exists(file, ignored)) return read_file(file);
  const bool was_saved =
      problem_of([&] { run.check_none_saved(); }).has_value() || !is_untrained(run);
  check(!was_saved, ExitCode::storage, "replay",
        "'{}' has no checkpoint any more, and {} went with its first: remove it and fork anew",
        run.folder().string(), replay_file);
  fail(
      ExitCode::storage, "replay",
      "{} is missing, which says how the step is made that this branch starts from; bring it back, "
      "or remove '{}', of which no step was made yet, and fork anew",
      file.string(), run.folder().string());
}

}  // namespace

std::optional<ReplayPlan> replay_due(const RunFolder& run, const PathSpecification& path,
                                     Communicator& world) {
  if (path.lineage.empty() || !path.lineage.back().replayed) return std::nullopt;
  std::string text;
  world.control().agree([&] {
    if (world.rank() != 0) return;
    if (run.latest()) {
      let_go(run, *path.lineage.back().replayed);
    } else {
      text = read_plan(run);
    }
  });
  text = world.control().broadcast(text, "what is made again");
  if (text.empty()) return std::nullopt;
  ReplayPlan plan;
  world.control().agree([&] {
    plan = replay_plan_from_json(text, (run.folder() / replay_file).string());
    follow_data(plan, path);
    find_origin(plan, run, *path.lineage.back().replayed, world.rank() == 0);
  });
  return plan;
}

ReplayJudge::ReplayJudge(const ReplayPlan& plan, const std::string& conditions, bool accepts)
    : plan_(plan), last_exact_(plan.last_exact(conditions)), accepts_(accepts) {}

void ReplayJudge::judge(int64_t step, const StepRecord& made) {
  const StepRecord& recorded = plan_.steps.at(step).record;
  const bool is_exact = step <= last_exact_;
  const auto difference = [&](size_t value) {
    return relative_difference(made.values[value], recorded.values[value]);
  };
  if (difference(0) > largest_) {
    largest_ = difference(0);
    largest_step_ = step;
  }
  std::string what;
  for (size_t value = 0; value < 3; ++value) {  // loss, norm, rate
    if (!is_exact && value == 1) continue;
    const bool is_bitwise = is_exact || value == 2;  // no rounding is in a rate
    const bool differs = difference(value) > (is_bitwise ? 0 : replay_tolerance);
    if (differs && what.empty()) what = show_both(made, recorded, value);
  }
  if (what.empty() || !accepted_.empty()) return;
  const std::string wanted =
      is_exact ? "the same bits are allowed, as it ran under the same conditions"
               : fmt::format(
                     "it ran under other conditions: of losses a relative difference of {} "
                     "is allowed, of rates none",
                     replay_tolerance);
  check(accepts_, ExitCode::differs, "replay",
        "step {} of '{}' has {}; {} (--accept-replay goes on with what is made here)", step,
        run_of(plan_, step), what, wanted);
  accepted_ = fmt::format("step {} has {}", step, what);
}

void ReplayJudge::conclude(ReplayedFrom& from) const {
  const bool is_exact = last_exact_ >= plan_.end();
  from.outcome = !accepted_.empty() ? "accepted" : is_exact ? "exact" : "approximate";
  from.difference = accepted_;
  if (!is_exact && accepted_.empty()) {
    from.difference = largest_ > 0
                          ? fmt::format("loss within {:.2g} (step {})", largest_, largest_step_)
                          : "losses alike";
  }
}

bool make_fork_point(const RunFolder& run, PathSpecification& path, const ReplayPlan& plan,
                     const Settings& settings, const Mesh& mesh) {
  ControlPlane& control = mesh.world->control();
  std::unique_ptr<StepReplay> steps;
  control.agree([&] { steps = std::make_unique<StepReplay>(plan, settings, mesh.layout); });
  std::optional<Origin> origin;
  if (plan.origin_run) {
    origin = Origin{*plan.origin_run, plan.origin, true, plan.from_weights, plan.from_weights};
    origin->another = other_copies(run, replay_origin(*path.lineage.back().replayed),
                                   {*plan.origin_run, plan.origin}, !plan.from_weights);
  }
  ReplayJudge judge(plan, steps->conditions(), settings.flag("accept-replay"));
  double loss = 0;
  const auto engine = steps->run(origin, mesh, [&](int64_t step, const StepRecord& made) {
    control.agree([&] { judge.judge(step, made); });
    loss = made.values[0];
  });
  const bool leads = mesh.world->rank() == 0;
  if (!engine) {
    if (leads) {
      log::info(
          "stopping, as a signal asked, before the fork point was made; the next start makes "
          "it from the beginning");
    }
    return false;
  }
  ReplayedFrom& from = *path.lineage.back().replayed;
  judge.conclude(from);
  if (leads) {
    log::info("step {} is made again: {}{}{}", path.start_step(), from.outcome,
              from.difference.empty() ? "" : ", ", from.difference);
  }
  control.agree([&] {  // before the checkpoint, which has the same lineage
    if (leads) run.write(path);
  });
  const CheckpointInfo info = info_of(plan, path, loss);
  Saver(run, path, mesh, {}, {.async = false}).save(info.step, info.samples, info.loss, *engine);
  if (leads) let_go(run, from);
  return true;
}

}  // namespace switchyard
