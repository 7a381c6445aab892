#include "launch/engine/step_remarks.h"

#include <cmath>

namespace switchyard {

namespace {

enum Remark { stop_remark, failure_remark };

}  // namespace

void StepRemarks::note_failure(const Error& problem) {
  if (!failure_) failure_ = problem;
}

StepRemarks::Numbers StepRemarks::to_send(bool stop) const {
  Numbers numbers{};
  numbers[stop_remark] = stop ? 1 : 0;
  numbers[failure_remark] = failure_ ? 1 : 0;
  return numbers;
}

void StepRemarks::throw_failure(const DistributedOptimizer::Outcome& outcome) {
  if (outcome.remarks[failure_remark] > 0) agree_on_failures();
}

bool StepRemarks::asks_to_stop(const DistributedOptimizer::Outcome& outcome) {
  return outcome.remarks[stop_remark] > 0;
}

void StepRemarks::agree_on_failures() {
  control_.agree([&] {
    if (failure_) throw Error(*failure_);
  });
}

// Every rank has the same value, so that all meet the error at once.
void stop_unless_finite(const char* what, int64_t step, double value, ControlPlane& control) {
  if (std::isfinite(value)) return;
  control.agree([&] {
    fail(ExitCode::non_finite, "train", "the {} of step {} is {}; nothing of this step was saved",
         what, step,
         std::isnan(value) ? std::abs(value) : value);  // the sign of no number means nothing
  });
}

}  // namespace switchyard
