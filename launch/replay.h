#pragma once

#include <string>

#include "launch/path/compare.h"
#include "launch/path/options.h"
#include "parallel/comm/communicator.h"

namespace switchyard {

// RUN@A:B, or RUN@A for one step.
struct StepRange {
  std::string run;
  int64_t first = 0, last = 0;
};
StepRange parse_step_range(const std::string& text);  // throws Error

// Recorded steps made once more, held against the record.
struct Replay {
  int64_t origin = 0;         // the step that it went on from; 0: the random start, or
  bool from_weights = false;  // published weights
  // Steps recorded under the same conditions (conditions_of): loss, gradient norm and rate to the
  // last bit.
  RecordComparison exact;
  // The others: loss and rate within the tolerance.
  RecordComparison close;
  bool agrees() const { return exact.differing == 0 && close.differing == 0; }
};

// Goes on from the newest saved step before the range, or the path's beginning, and makes the steps
// up to its end, without writing anything; the path may be training meanwhile. Collective; throws
// Error on all ranks for a range that the path's own record does not have.
Replay replay(const StepRange& range, const Settings& settings, double tolerance,
              Communicator& world);

}  // namespace switchyard
