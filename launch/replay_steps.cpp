#include "launch/replay_steps.h"

#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/stop_signal.h"
#include "data/progress.h"
#include "launch/path/run_settings.h"
#include "launch/path/specification_checks.h"
#include "launch/path/starts.h"
#include "parallel/comm/control_plane.h"

namespace switchyard {

namespace {

EngineOptions options_of(const ReplaySegment& segment, const Settings& settings,
                         const Layout& layout) {
  try {
    auto options = engine_options(segment.path, settings, true);
    check_engine(options, layout);
    return options;
  } catch (const Error& problem) {
    throw Error(fmt::format("{}; steps of '{}' are to be made again", problem.what(), segment.run),
                problem.code());
  }
}

// What an engine keeps from step to step, in host memory: the way from one path's engine to that of
// a branch, whose tensors are the same.
std::vector<std::vector<char>> state_of(Engine& engine) {
  std::vector<std::vector<char>> all;
  Stream& stream = engine.context().stream;
  for (const ShardedTensor& tensor : engine.state().tensors(StateUse::load)) {
    for (const Piece& piece : tensor.pieces) {
      const int64_t bytes = piece.box.extent.elements() * size_of(tensor.dtype);
      auto& copy = all.emplace_back(static_cast<size_t>(bytes));
      copy_bytes(copy.data(), piece.data, bytes, stream);
    }
  }
  stream.synchronize();
  return all;
}

void take_state(Engine& engine, const std::vector<std::vector<char>>& all) {
  Stream& stream = engine.context().stream;
  size_t next = 0;
  for (const ShardedTensor& tensor : engine.state().tensors(StateUse::load)) {
    for (const Piece& piece : tensor.pieces) {
      const auto& copy = all.at(next++);
      copy_bytes(piece.data, copy.data(), static_cast<int64_t>(copy.size()), stream);
    }
  }
  stream.synchronize();
  engine.gather_after_load();
}

double finite_or_nan(double value) {
  return std::isfinite(value) ? value : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

StepReplay::StepReplay(const ReplayPlan& plan, const Settings& settings, const Layout& layout)
    : plan_(plan) {
  int64_t after = plan.begin();
  for (const ReplaySegment& segment : plan.segments) {
    parts_.push_back({segment, options_of(segment, settings, layout), nullptr});
    if (segment.last > after) {
      parts_.back().data = std::make_unique<TrainingData>(
          open_training_data(segment.path, after, segment.last, SetCheck::header));
    }
    after = std::max(after, segment.last);
  }
  conditions_ = conditions_of({0, 0, layout, options().device, settings});
}

std::unique_ptr<Engine> StepReplay::run(std::optional<Origin> origin, const Mesh& mesh,
                                        const Made& made) {
  std::unique_ptr<Engine> engine;
  std::vector<std::vector<char>> state;
  int64_t after = plan_.begin();
  for (const Part& part : parts_) {
    if (engine) {
      state = state_of(*engine);
      engine.reset();  // before the next takes its memory
    }
    const bool is_first = &part == &parts_.front();
    mesh.world->control().agree([&] {
      engine = std::make_unique<Engine>(part.options, mesh);
      if (is_first && !origin) engine->initialize(part.segment.path.seeds.initial());
      if (!is_first) take_state(*engine, state);
    });
    if (is_first && origin) load(*origin, mesh, *engine);
    engine->rehearse();
    begin_work();
    if (!make_steps(part, after, *engine, made)) return nullptr;
    after = std::max(after, part.segment.last);
  }
  return engine;
}

bool StepReplay::make_steps(const Part& part, int64_t after, Engine& engine, const Made& made) {
  const PathSpecification& path = part.segment.path;
  Progress progress("replay", part.segment.last - after, engine.model().mesh().world->rank() == 0,
                    ProgressUnit{"steps", 1});
  for (int64_t step = after + 1; step <= part.segment.last; ++step) {
    const int64_t consumed = path.samples_at(step - 1);
    const double rate = learning_rate(path.schedule, step);
    engine.queue_step(
        step, rate,
        [&](int64_t sample, std::span<int32_t> tokens, std::span<int32_t> targets) {
          part.data->read(consumed + sample, tokens, targets);
        },
        StopSignal::requested);
    const auto result = engine.finish_step();
    const double none = std::numeric_limits<double>::quiet_NaN();
    made(step,
         {.start = 0,
          .values = {finite_or_nan(result.loss), finite_or_nan(result.grad_norm), rate, none}});
    progress.add(1);
    if (result.stop && step < plan_.end()) return false;
  }
  return true;
}

}  // namespace switchyard
