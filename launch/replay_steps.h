#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "data/training_data.h"
#include "launch/engine/engine.h"
#include "launch/origin.h"
#include "launch/path/replay_plan.h"

namespace switchyard {

// Makes the steps of a plan again, each segment with an engine for its path, under the settings of
// this start.
class StepReplay {
 public:
  // Checks that each segment fits the layout and opens its data; no exchange, no engine yet. Throws
  // Error. The plan must outlive this object.
  StepReplay(const ReplayPlan& plan, const Settings& settings, const Layout& layout);

  // What recorded steps' conditions are held against.
  const std::string& conditions() const { return conditions_; }
  const EngineOptions& options() const { return parts_.front().options; }  // of the first segment

  // `made` hears of each step on every rank, with the same values; what it throws, it throws on
  // all. Nothing where a rank asked to stop. Otherwise the engine behind the last step. Collective.
  using Made = std::function<void(int64_t step, const StepRecord& record)>;
  std::unique_ptr<Engine> run(std::optional<Origin> origin, const Mesh& mesh, const Made& made);

 private:
  struct Part {
    const ReplaySegment& segment;
    EngineOptions options;
    std::unique_ptr<TrainingData> data;
  };
  bool make_steps(const Part& part, int64_t after, Engine& engine, const Made& made);

  const ReplayPlan& plan_;
  std::string conditions_;
  std::vector<Part> parts_;
};

}  // namespace switchyard
