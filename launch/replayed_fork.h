#pragma once

#include <optional>

#include "launch/path/replay_plan.h"
#include "launch/saver.h"
#include "parallel/mesh.h"

namespace switchyard {

// How the fork point of a branch comes to be whose parent had not saved it; nothing where it has
// been made already, or was saved. Collective; throws Error where what it begins from is gone.
std::optional<ReplayPlan> replay_due(const RunFolder& run, const PathSpecification& path,
                                     Communicator& world);

// Largest difference of a loss from its record that passes, relative, where other conditions
// (layout, micro-batch, threads, device, ...) than the record's forbid the same bits.
constexpr double replay_tolerance = 0.01;

// Holds steps that are made again against their record, one after the other.
class ReplayJudge {
 public:
  // `conditions`: those of this start. accepts: --accept-replay.
  ReplayJudge(const ReplayPlan& plan, const std::string& conditions, bool accepts);
  // Throws Error (ExitCode::differs) naming the step, both values and what was to be alike.
  void judge(int64_t step, const StepRecord& made);
  // Writes into the lineage what came of it.
  void conclude(ReplayedFrom& from) const;

 private:
  const ReplayPlan& plan_;
  int64_t last_exact_;
  bool accepts_;
  std::string accepted_;  // what did not agree first
  double largest_ = 0;    // of the relative differences of losses
  int64_t largest_step_ = 0;
};

// Makes the fork point and saves it as the branch's own: from there on the branch needs nothing of
// its parent. `path` gets the outcome in its lineage and is written anew. false: a signal asked to
// stop before it was made. Collective; errors are agreed on.
bool make_fork_point(const RunFolder& run, PathSpecification& path, const ReplayPlan& plan,
                     const Settings& settings, const Mesh& mesh);

}  // namespace switchyard
