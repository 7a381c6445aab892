#include "core/error.h"
#include "launch/launcher/srun_job.h"

namespace switchyard {

namespace {

constexpr int most_in_vain = 3;  // so often a job is queued again that saves nothing new

std::string meaning_of(int code) {
  constexpr int ended_at_once = 130;
  if (code == ended_at_once) return "ended at once by a signal";
  switch (static_cast<ExitCode>(code)) {
    case ExitCode::reached:
      return "the goal is reached";
    case ExitCode::usage:
      return "wrong use or input";
    case ExitCode::non_finite:
      return "a number is not finite";
    case ExitCode::differs:
      return "what was to be alike differs";
    case ExitCode::storage:
      return "disk or checkpoint";
    case ExitCode::stopped:
      return "stopped by a signal";
    case ExitCode::lost_peer:
      return "a rank or node was lost";
    case ExitCode::timed_out:
      return "a rank did not answer";
    default:
      return "an error that comes again";
  }
}

}  // namespace

RequeueDecision decide_requeue(const JobRecord& job) {
  const auto code = static_cast<ExitCode>(job.code);
  const std::string meaning = fmt::format("exit code {}, {}", job.code, meaning_of(job.code));
  const bool lost = code == ExitCode::lost_peer || code == ExitCode::timed_out;
  if (code != ExitCode::stopped && !lost) return {false, meaning};
  if (job.cancelled) return {false, meaning + "; Slurm itself ends the job, by scancel or requeue"};
  if (lost && !job.progressed && job.requeued >= most_in_vain)
    return {false, fmt::format("{}; requeued {} times, and nothing was saved since it started",
                               meaning, job.requeued)};
  return {true, meaning};
}

}  // namespace switchyard
