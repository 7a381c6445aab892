#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "launch/path/options.h"
#include "launch/path/pins.h"
#include "launch/path/retention_plan.h"
#include "launch/path/run_folder.h"

// Which saved steps of a path stay.
namespace switchyard {

RetentionOptions retention_options(const Settings& run);
// What these options ask for that will not come about; empty: nothing.
std::string describe_vain_retention(const Settings& run);

// Deletes saved steps of a path, and moments of such that stay, as plan_retention says. The path's
// lock is held by whoever lets it.
class Retention {
 public:
  // The run must outlive it.
  Retention(const RunFolder& run, const RetentionOptions& options) : run_(run), options_(options) {}
  // False: another process has kept the pins locked; what is left goes the next time. What was
  // found of a step that is older than those which keep their moments is not looked at again.
  bool apply();
  // This process has just saved it, so that it need not be looked at.
  void trust(int64_t step) { problems_[step].clear(); }
  // What apply() had begun when it was ended, and no more: of a start that saves nothing.
  void end_begun();
  // What apply() would do, with the folders of incomplete saves that it would remove.
  std::vector<StepFate> plan();
  std::vector<CheckpointEntry> fragments() const;

 private:
  void tidy();
  void remove_fragments();
  bool remove_left(int64_t step);
  std::vector<SavedStep> saved_steps();
  const std::string& known_problem(const CheckpointEntry& entry);
  SavedStep look_at(const CheckpointEntry& entry);
  std::vector<int64_t> members_of(int64_t step);
  std::vector<StepNeed> needs_of(std::span<const SavedStep> saved, std::span<const Pin> pins);
  void report_unreadable(std::span<const SavedStep> saved);
  void report_bound(std::span<const StepFate> fates);
  Fate fate_of(std::span<const SavedStep> saved, int64_t step, std::span<const Pin> pins);
  bool carry_out(std::span<const SavedStep> saved, int64_t step);

  const RunFolder& run_;
  RetentionOptions options_;
  std::map<int64_t, SavedStep> known_;               // steps whose moments are gone or cannot go
  std::map<int64_t, std::string> problems_;          // of steps; empty: it can be read
  std::set<int64_t> warned_;                         // of steps that cannot
  std::map<int64_t, std::vector<int64_t>> members_;  // that a step's averages leave out
  bool tidied_ = false;
  bool said_ = false;  // which steps' moments stay although they should go
};

// Whether no step was ever logged or saved and no branch pins one: nothing hangs on path.json.
bool is_untrained(const RunFolder& run);
// Going on from `step`: what was saved behind it moves to discarded/, so that its steps can be
// saved again; throws Error when a fork point is among it.
void discard_behind(const RunFolder& run, int64_t step);

}  // namespace switchyard
