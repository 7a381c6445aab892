#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "core/error.h"
#include "optim/distributed_optimizer.h"
#include "parallel/comm/control_plane.h"

namespace switchyard {

// What one rank notes and all have to know of behind the same step: that it is asked to stop, and
// its own failures. Numbers go with the step's sums, as an exchange of the control plane in each
// step would make it wait; what failed is then agreed on.
class StepRemarks {
 public:
  using Numbers = std::array<double, DistributedOptimizer::remark_count>;
  explicit StepRemarks(ControlPlane& control) : control_(control) {}

  // An error of this rank alone, which the next step tells all ranks of.
  void note_failure(const Error& problem);
  Numbers to_send(bool stop) const;  // of a step, with the failures noted so far
  // Of a step's sums: throws a rank's failure on all of them. Collective where one was told of.
  void throw_failure(const DistributedOptimizer::Outcome& outcome);
  static bool asks_to_stop(const DistributedOptimizer::Outcome& outcome);
  // The failures noted so far, at once; only with no step unfinished. Collective.
  void agree_on_failures();

 private:
  ControlPlane& control_;
  std::optional<Error> failure_;  // noted here and not yet thrown
};

// Throws Error (non_finite) on all ranks for a value that all have.
void stop_unless_finite(const char* what, int64_t step, double value, ControlPlane& control);

}  // namespace switchyard
