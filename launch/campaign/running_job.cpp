#include "launch/campaign/running_job.h"

#include <sys/wait.h>

#include <csignal>

#include "core/error.h"
#include "launch/path/options.h"

namespace switchyard {

RunningJob::RunningJob(Job job, JobStart start, const std::filesystem::path& log)
    : job_(std::move(job)), start_(std::move(start)), output_(log, job_.result) {
  output_.say(show(start_.words));
  process_ = std::make_unique<ChildProcess>(ChildCommand{.words = start_.words,
                                                         .environment = start_.environment,
                                                         .out = output_.out(),
                                                         .error = output_.error()});
}

void RunningJob::ask_to_stop() {
  if (asked_ != Asked::nothing) return;
  process_->send(SIGUSR1);
  asked_ = Asked::to_stop;
}

void RunningJob::end() {
  if (start_.ending_signal == SIGKILL)
    process_->kill_all();
  else
    process_->send(start_.ending_signal);
  asked_ = Asked::to_end;
}

void RunningJob::end_late() {
  if (asked_ == Asked::to_end) process_->kill_all();
}

// Shells and mpirun say 128 and the signal's number.
int RunningJob::code_of(int status) const {
  constexpr int by_signal = 128, ended_at_once = 130;
  const int code = WIFSIGNALED(status) ? by_signal + WTERMSIG(status) : WEXITSTATUS(status);
  if (code <= by_signal || code == ended_at_once) return code;
  const bool was_killed = code == by_signal + SIGKILL;
  if (asked_ == Asked::to_end || (asked_ == Asked::to_stop && !was_killed)) return ended_at_once;
  return static_cast<int>(was_killed ? ExitCode::lost_peer : ExitCode::other);
}

std::optional<int> RunningJob::ended() {
  const auto status = process_->status();
  if (!status) return std::nullopt;
  int code = code_of(*status);
  if (code == 0 && !output_.keep()) code = static_cast<int>(ExitCode::storage);
  output_.say(fmt::format("ended with code {}", code));
  return code;
}

}  // namespace switchyard
