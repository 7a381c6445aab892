#include "launch/launcher/srun_job.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>

#include "core/command.h"
#include "core/error.h"
#include "core/printable.h"
#include "core/stop_signal.h"
#include "launch/launcher/srun_step.h"
#include "launch/path/lease_holder.h"
#include "launch/slurm/allocation.h"
#include "launch/slurm/slurm_variables.h"

namespace switchyard {

namespace {

template <class... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  const std::string line = fmt::format(format, std::forward<Args>(args)...);
  std::fprintf(stderr, "switchyard: [launch] %s\n", printable_lines(line).c_str());
}

bool is_lost(int code) {
  return code == static_cast<int>(ExitCode::lost_peer) ||
         code == static_cast<int>(ExitCode::timed_out);
}

class SrunJob {
 public:
  explicit SrunJob(const LaunchPlan& plan);
  int run();
  bool has_progressed() const;

 private:
  bool goes_on(const StepEnd& end);
  void choose_nodes();
  TrainedSoFar progress() const { return trains_ ? progress_of(training_.run) : TrainedSoFar{}; }

  const LaunchPlan& plan_;
  const std::vector<std::string> all_ = nodes_of_allocation();
  std::vector<std::string> nodes_ = all_;  // of the step
  std::vector<std::string> words_ = plan_.words;
  LaunchedTraining training_;
  bool trains_ = false;
  TrainedSoFar before_;
  int restarts_ = 0;
  bool faulted_ = false;  // in MPI_Init, which is given one more chance
  const std::string program_ = std::filesystem::read_symlink("/proc/self/exe");
};

SrunJob::SrunJob(const LaunchPlan& plan) : plan_(plan) {
  if (const auto training = launched_training(plan.words)) {
    training_ = *training;
    trains_ = true;
  }
  before_ = progress();
  nodes_ = usable_nodes(all_, plan.ranks, training_);
  check(!nodes_.empty() && (nodes_.size() == all_.size() || plan.min_nodes > 0), "launch",
        "{} nodes of {} ranks with --tp {} and --pp {}; a multiple of tp x pp ranks is allowed",
        all_.size(), plan.ranks, training_.tp, training_.pp);
}

bool SrunJob::has_progressed() const { return !trains_ || progress().saved > before_.saved; }

void SrunJob::choose_nodes() {
  const size_t least = plan_.min_nodes > 0 ? static_cast<size_t>(plan_.min_nodes) : all_.size();
  const auto answering = answering_nodes(all_);
  nodes_ = usable_nodes(answering, plan_.ranks, training_);
  check(!nodes_.empty() && nodes_.size() >= least, ExitCode::lost_peer, "launch",
        "{} of {} nodes answer ({}), of which {} fit --tp {} --pp {} with {} ranks each; at least "
        "{} are needed",
        answering.size(), all_.size(), fmt::join(answering, ","), nodes_.size(), training_.tp,
        training_.pp, plan_.ranks, least);
  if (nodes_.size() < all_.size())
    say("{} of {} nodes: {}; {} {}", nodes_.size(), all_.size(), fmt::join(nodes_, ","),
        answering.size(), answering.size() == 1 ? "answers" : "answer");
}

// Open MPI's PMIx faults inside MPI_Init in a few of a thousand starts, before anything was done.
bool SrunJob::goes_on(const StepEnd& end) {
  if (!is_lost(end.code) || end.was_asked) return false;
  const TrainedSoFar now = progress();
  const bool in_start = trains_ && end.faulted && now.starts == before_.starts && !faulted_;
  if (in_start && plan_.mpi != "none") {
    faulted_ = true;
    say("a rank faulted before its first step: once more");
    return true;
  }
  if (restarts_ >= plan_.restarts) return false;
  ++restarts_;
  if (!end.lost_nodes.empty()) say("lost: {}", end.lost_nodes);
  words_ = words_to_go_on(plan_.words, before_, now);
  say("restart {} of {} behind exit code {}: {}", restarts_, plan_.restarts, end.code,
      trains_ ? describe_going_on(now, words_, LastRanks::may_save) : "starts again");
  choose_nodes();
  return true;
}

int SrunJob::run() {
  for (int64_t start = 1;; ++start) {
    const bool again = start > 1;
    set_launched_start(start);  // what it follows is ended; a lost node cannot say so
    LaunchPlan step = plan_;    // what is left of a lost step may hold cores for a while
    if (again && plan_.mpi != "mpirun") step.srun_options += " --overlap";
    const StepEnd end = run_step(step_command(step, words_, nodes_, program_));
    // A command that does not save. What Slurm's signal before a time limit or a preemption has
    // ended goes on when it is queued again, as what could save does.
    if (end.ended_by != 0 && words_[0] != "train")
      return end.ended_by == SIGUSR1 ? static_cast<int>(ExitCode::stopped) : 130;
    if (!goes_on(end)) return end.code;
  }
}

void requeue(const LaunchPlan& plan, int code, bool progressed) {
  if (!plan.requeues || code == 0) return;
  const std::string job = job_of_allocation();
  const auto decision = decide_requeue({.code = code,
                                        .cancelled = is_cancelled(job),
                                        .requeued = slurm_number("SLURM_RESTART_COUNT", 0),
                                        .progressed = progressed});
  say("job {} is {}: {}", job, decision.requeue ? "requeued" : "not requeued", decision.why);
  if (!decision.requeue) return;
  const auto said = run_command({"scontrol", "requeue", job}, std::chrono::seconds(60));
  if (!said || said->code != 0)
    say("scontrol requeue {} failed: {}", job, said ? said->errors : "no answer");
}

}  // namespace

int run_over_srun(const LaunchPlan& plan) {
  hold_back_signals();  // one that comes between steps is for the next
  SrunJob job(plan);
  int code = 0;
  try {
    code = job.run();
  } catch (const Error& problem) {
    if (problem.code() != ExitCode::lost_peer) throw;
    std::fprintf(stderr, "switchyard: %s\n", printable_lines(problem.what()).c_str());
    code = static_cast<int>(problem.code());
  }
  requeue(plan, code, job.has_progressed());
  return code;
}

}  // namespace switchyard
