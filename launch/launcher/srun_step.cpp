#include "launch/launcher/srun_step.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <optional>

#include "core/error.h"
#include "core/files.h"
#include "launch/launcher/stop_requests.h"

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;

sigset_t signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int s : {SIGUSR1, SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&set, s);
  return set;
}

// srun, whose errors come through a pipe so that its own lines can be read.
class Step {
 public:
  explicit Step(const std::vector<std::string>& words);
  StepEnd run();

 private:
  [[noreturn]] void become(std::vector<std::string> words, int error) const;
  void take_signal();
  void take_errors();
  bool has_ended();
  void end_by_deadline();

  const std::string name_;  // srun or mpirun
  const pid_t parent_ = getpid();
  sigset_t before_{};
  Descriptor signals_, errors_;
  pid_t child_ = -1;
  int state_ = 0;
  StopRequests requests_;
  bool is_ended_ = false;            // by a second request, before a task had failed
  bool has_ended_by_force_ = false;  // srun, behind its deadline
  std::string line_;
  SrunLines lines_;
  std::optional<Clock::time_point> deadline_;  // of srun, behind a failure
};

Step::Step(const std::vector<std::string>& words) : name_(words[0]) {
  const sigset_t mine = signals();
  sigprocmask(SIG_BLOCK, &mine, &before_);
  signals_ = Descriptor(signalfd(-1, &mine, SFD_CLOEXEC | SFD_NONBLOCK));
  std::array<int, 2> ends{};
  const bool piped = signals_ && pipe2(ends.data(), O_CLOEXEC) == 0;
  check(piped, ExitCode::other, "launch", "no pipe: {}", std::strerror(errno));
  errors_ = Descriptor(ends[0]);
  const Descriptor writer(ends[1]);
  fcntl(errors_.number(), F_SETFL, O_NONBLOCK);
  std::fflush(nullptr);
  child_ = fork();
  if (child_ == 0) become(words, writer.number());
  check(child_ > 0, ExitCode::other, "launch", "{} cannot be started: {}", words[0],
        std::strerror(errno));
}

// In a process group of its own: an interrupt of the terminal, which srun has a meaning of its own
// for, comes to the launcher alone.
void Step::become(std::vector<std::string> words, int error) const {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent_) _exit(1);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  dup2(error, STDERR_FILENO);
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  std::fprintf(stderr, "switchyard: [launch] %s: %s\n", arguments[0], std::strerror(errno));
  _exit(static_cast<int>(ExitCode::usage));
}

void Step::take_signal() {
  signalfd_siginfo came{};
  while (read(signals_.number(), &came, sizeof came) == sizeof came) {
    const int number = static_cast<int>(came.ssi_signo);
    if (number == SIGCHLD) continue;
    if (requests_.count() > 0 && number == SIGUSR1) continue;
    if (!requests_.take(number)) continue;
    if (requests_.count() == 1) {
      std::fprintf(stderr, "switchyard: [launch] %s: ranks are asked to save and stop\n",
                   strsignal(number));
      kill(child_, SIGUSR1);
    } else {
      const bool is_second = requests_.count() == 2;
      if (is_second) mention_second(number);
      is_ended_ |= !lines_.has_failed();
      kill(child_, is_second ? SIGTERM : SIGKILL);
    }
  }
}

void Step::take_errors() {
  std::array<char, 4096> part{};
  for (ssize_t got = 0; errors_;) {
    got = read(errors_.number(), part.data(), part.size());
    if (got < 0) return;
    if (got == 0) errors_.close();
    std::fwrite(part.data(), 1, static_cast<size_t>(got), stderr);
    for (const char c : std::string_view(part.data(), static_cast<size_t>(got))) {
      if (c != '\n') {
        line_ += c;
        continue;
      }
      lines_.read(line_);
      line_.clear();
    }
  }
}

// By TERM it ends the step, without waiting for those that do not answer.
void Step::end_by_deadline() {
  using std::chrono::seconds;
  if (!lines_.has_failed()) return;
  const auto now = Clock::now();
  if (!deadline_) deadline_ = now + seconds(name_ == "mpirun" ? 6 : 20);
  if (now < *deadline_) return;
  const bool again = now > *deadline_ + seconds(2);
  if (!again && has_ended_by_force_) return;
  if (!has_ended_by_force_)
    std::fprintf(stderr, "switchyard: [launch] %s waits for tasks that do not end: it is ended\n",
                 name_.c_str());
  kill(child_, again ? SIGKILL : SIGTERM);
  has_ended_by_force_ = true;
}

bool Step::has_ended() { return waitpid(child_, &state_, WNOHANG) == child_; }

StepEnd Step::run() {
  constexpr int pause_ms = 500;
  while (!has_ended()) {
    std::array<pollfd, 2> waiting{pollfd{signals_.number(), POLLIN, 0},
                                  pollfd{errors_.number(), POLLIN, 0}};
    poll(waiting.data(), waiting.size(), pause_ms);
    take_signal();
    take_errors();
    end_by_deadline();
  }
  take_signal();
  take_errors();
  sigprocmask(SIG_SETMASK, &before_, nullptr);
  const int said = WIFEXITED(state_) ? WEXITSTATUS(state_) : 128 + WTERMSIG(state_);
  StepEnd end = lines_.end(said);
  constexpr int stopped = static_cast<int>(ExitCode::stopped), ended_at_once = 130;
  // USR1 ends an srun or a task that is not ready for it yet: no step was made.
  const bool early = requests_.count() == 1 && end.by_usr1;
  if (early) end.code = stopped;
  if (is_ended_ && end.code != 0 && end.code != stopped) end.code = ended_at_once;
  end.was_asked = requests_.count() > 0;
  // The launchers of nodes say 130; srun and mpirun of ranks of their own 128 and the number.
  const bool by_signal = end.code == ended_at_once || early;
  if (requests_.count() == 1 && by_signal) end.ended_by = requests_.first();
  return end;
}

}  // namespace

StepEnd run_step(const std::vector<std::string>& words) { return Step(words).run(); }

}  // namespace switchyard
