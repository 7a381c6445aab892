#include "launch/replay.h"

#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <optional>

#include "core/error.h"
#include "core/text.h"
#include "data/progress.h"
#include "launch/engine/engine.h"
#include "launch/engine/matmul_choices.h"
#include "launch/engine/world.h"
#include "launch/origin.h"
#include "launch/path/fork_point.h"
#include "launch/path/run_folder.h"
#include "launch/path/run_settings.h"
#include "launch/path/specification_checks.h"
#include "launch/path/starts.h"
#include "parallel/comm/control_plane.h"

namespace switchyard {

namespace {

using Records = std::map<int64_t, StepRecord>;

// What a replay needs beside the ranks; alike on all of them.
struct Recorded {
  PathSpecification path;
  EngineOptions options;
  std::optional<Origin> origin;
  int64_t step = 0;  // of the origin
  Records records;   // of the range
  std::map<int64_t, std::string> conditions;
  std::string own_conditions;
  std::unique_ptr<TrainingData> data;
};

// The newest saved step that is not behind the range's first; a branch's first is its fork point.
std::optional<Origin> origin_before(const RunFolder& run, const PathSpecification& path,
                                    int64_t first) {
  std::optional<Origin> origin;
  for (const auto& entry : list_checkpoints(run.checkpoints())) {
    if (entry.complete && entry.step < first) origin = Origin{run, entry, false};
  }
  if (origin || path.start_step() == 0) return origin;
  const auto point = find_fork_point(run, path.lineage.back());
  return Origin{point.parent, point.entry, true};
}

Records records_of(const RunFolder& run, const PathSpecification& path, const StepRange& range) {
  check(range.first > path.start_step(), "replay",
        "step {}, but '{}' begins behind step {}; earlier steps are its parent's, '{}'",
        range.first, range.run, path.start_step(),
        path.lineage.empty() ? "" : path.lineage.back().path);
  const Records all = read_step_records(run.folder());
  Records some;
  for (int64_t step = range.first; step <= range.last; ++step) {
    const auto record = all.find(step);
    check(record != all.end(), "replay", "step {} has no line in {}; its steps are {} to {}", step,
          (run.folder() / "metrics.jsonl").string(), all.empty() ? 0 : all.begin()->first,
          all.empty() ? 0 : all.rbegin()->first);
    some.insert(*record);
  }
  return some;
}

Recorded read_recorded(const StepRange& range, const Settings& settings, const Layout& layout) {
  const RunFolder run(range.run);
  Recorded recorded;
  recorded.path = run.read();
  check(recorded.path.kind == "path", "replay", "'{}' is an average; it has no steps", range.run);
  recorded.records = records_of(run, recorded.path, range);
  recorded.options = engine_options(recorded.path, settings, true);
  check_engine(recorded.options, layout);
  recorded.origin = origin_before(run, recorded.path, range.first);
  recorded.step = recorded.origin ? recorded.origin->entry.step : 0;
  recorded.conditions = recorded_conditions(run.folder());
  recorded.own_conditions = conditions_of({0, 0, layout, recorded.options.device, settings});
  recorded.data = std::make_unique<TrainingData>(
      open_training_data(recorded.path, recorded.step, range.last, SetCheck::header));
  return recorded;
}

double finite_or_nan(double value) {
  return std::isfinite(value) ? value : std::numeric_limits<double>::quiet_NaN();
}

StepRecord make_step(const Recorded& recorded, int64_t step, Engine& engine) {
  const PathSpecification& path = recorded.path;
  const int64_t consumed = path.samples_at(step - 1);
  const double rate = learning_rate(path.schedule, step);
  engine.queue_step(step, rate,
                    [&](int64_t sample, std::span<int32_t> tokens, std::span<int32_t> targets) {
                      recorded.data->read(consumed + sample, tokens, targets);
                    });
  const auto result = engine.finish_step();
  return {.start = 0,
          .values = {finite_or_nan(result.loss), finite_or_nan(result.grad_norm), rate,
                     std::numeric_limits<double>::quiet_NaN()}};
}

// Of a step under other conditions its loss and rate alone.
void hide(StepRecord& record, bool is_exact) {
  const double nothing = std::numeric_limits<double>::quiet_NaN();
  record.values[3] = nothing;  // what a validation gave
  if (!is_exact) record.values[1] = nothing;
}

Replay held_against_record(const Recorded& recorded, const Records& made, double tolerance) {
  Records exact[2], close[2];  // recorded, made
  for (auto [step, record] : recorded.records) {
    const auto conditions = recorded.conditions.find(record.start);
    const bool is_exact =
        conditions != recorded.conditions.end() && conditions->second == recorded.own_conditions;
    StepRecord again = made.at(step);
    hide(record, is_exact);
    hide(again, is_exact);
    Records* pair = is_exact ? exact : close;
    pair[0][step] = record;
    pair[1][step] = again;
  }
  return {.origin = recorded.step,
          .exact = compare_records(exact[0], exact[1], 0),
          .close = compare_records(close[0], close[1], tolerance)};
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
  Recorded recorded;
  world.control().agree([&] {
    apply_device_settings(settings);
    layout = layout_of(world.size(), settings.integer("tensor-model-parallel-size"),
                       settings.integer("pipeline-model-parallel-size"));
    recorded = read_recorded(range, settings, layout);
  });
  const Mesh mesh = make_mesh(layout, world);
  const RunFolder run(range.run);
  if (recorded.options.device == Device::cuda && has_matmul_choices(run.folder())) {
    settle_matmul_choices(run.folder(), recorded.options, mesh, true);
  }
  std::unique_ptr<Engine> engine;
  world.control().agree([&] {
    engine = std::make_unique<Engine>(recorded.options, mesh);
    if (!recorded.origin) engine->initialize(recorded.path.seeds.initial());
  });
  if (recorded.origin) load(*recorded.origin, mesh, *engine);
  engine->rehearse();
  begin_work();
  Records made;
  Progress progress("replay", range.last - recorded.step, world.rank() == 0,
                    ProgressUnit{"steps", 1});
  for (int64_t step = recorded.step + 1; step <= range.last; ++step) {
    made[step] = make_step(recorded, step, *engine);
    progress.add(1);
  }
  return held_against_record(recorded, made, tolerance);
}

}  // namespace switchyard
