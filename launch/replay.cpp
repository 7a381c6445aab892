#include "launch/replay.h"

#include <limits>
#include <map>
#include <memory>
#include <optional>

#include "core/error.h"
#include "core/text.h"
#include "launch/engine/matmul_choices.h"
#include "launch/engine/world.h"
#include "launch/path/relative_name.h"
#include "launch/path/run_settings.h"
#include "launch/replay_steps.h"
#include "parallel/comm/control_plane.h"

namespace switchyard {

namespace {

using Records = std::map<int64_t, StepRecord>;

ReplayPlan plan_of(const StepRange& range) {
  const RunFolder run(range.run);
  const auto path = run.read();
  check(path.kind == "path", "replay", "'{}' is {}; it has no steps of its own", range.run,
        describe_kind(path));
  if (range.first <= path.start_step()) {  // which is above 0, and so a fork
    const LineageEntry& fork = path.lineage.back();
    fail("replay", "step {}, but '{}' begins behind step {}; earlier steps are its parent's, '{}'",
         range.first, range.run, path.start_step(),
         place_as_named({fork.path, fork.path_as_given}, run.folder()).string());
  }
  read_step_records(run.folder());  // that there are any is said first
  auto plan = plan_replay(run, range.first - 1, range.last);
  check_recorded(plan, range.first, range.last, "replay");
  return plan;
}

// Of a step under other conditions its loss and rate alone.
void hide(StepRecord& record, bool is_exact) {
  const double nothing = std::numeric_limits<double>::quiet_NaN();
  record.values[3] = nothing;  // what a validation gave
  if (!is_exact) record.values[1] = nothing;
}

Replay held_against_record(const ReplayPlan& plan, const StepRange& range,
                           const std::string& conditions, const Records& made, double tolerance) {
  Records exact[2], close[2];  // recorded, made
  const int64_t last_exact = plan.last_exact(conditions);
  for (int64_t step = range.first; step <= range.last; ++step) {
    StepRecord record = plan.steps.at(step).record, again = made.at(step);
    hide(record, step <= last_exact);
    hide(again, step <= last_exact);
    Records* pair = step <= last_exact ? exact : close;
    pair[0][step] = record;
    pair[1][step] = again;
  }
  return {.origin = plan.begin(),
          .from_weights = plan.from_weights,
          .exact = compare_records(exact[0], exact[1], 0),
          .close = compare_records(close[0], close[1], tolerance)};
}

// A mean has its moments elsewhere.
std::optional<Origin> origin_of(const ReplayPlan& plan) {
  if (!plan.origin_run) return std::nullopt;
  const auto& first = plan.segments.front();
  const bool is_own = plan.origin_run->folder() == RunFolder(first.run).folder();
  const bool is_mean = !is_own && (first.path.lineage.back().average || plan.from_weights);
  if (is_mean) return origin_at_fork(RunFolder(first.run), first.path);
  return Origin{*plan.origin_run, plan.origin, false};
}

}  // namespace

StepRange parse_step_range(const std::string& text) {
  const size_t at = text.rfind('@');
  const std::string_view steps =
      at == std::string::npos ? std::string_view() : std::string_view(text).substr(at + 1);
  const auto fields = split_at(':', steps);
  const auto first = parse_number<int64_t>(fields.front());
  const auto last = parse_number<int64_t>(fields.back());
  check(at != std::string::npos && at > 0 && fields.size() <= 2 && first && last && *first >= 1 &&
            *last >= *first,
        "replay", "'{}'; RUN@A:B with 1 <= A <= B, or RUN@A, is allowed", text);
  return {text.substr(0, at), *first, *last};
}

Replay replay(const StepRange& range, const Settings& settings, double tolerance,
              Communicator& world) {
  Layout layout;
  ReplayPlan plan;
  std::unique_ptr<StepReplay> steps;
  world.control().agree([&] {
    apply_device_settings(settings);
    layout = layout_of(world.size(), settings.integer("tensor-model-parallel-size"),
                       settings.integer("pipeline-model-parallel-size"));
    plan = plan_of(range);
    steps = std::make_unique<StepReplay>(plan, settings, layout);
  });
  const Mesh mesh = make_mesh(layout, world);
  const RunFolder run(range.run);
  if (steps->options().device == Device::cuda && has_matmul_choices(run.folder())) {
    settle_matmul_choices(run.folder(), steps->options(), mesh, true);
  }
  std::optional<Origin> origin;
  world.control().agree([&] { origin = origin_of(plan); });
  Records made;
  const auto engine = steps->run(
      origin, mesh, [&](int64_t step, const StepRecord& record) { made[step] = record; });
  return held_against_record(plan, range, steps->conditions(), made, tolerance);
}

}  // namespace switchyard
