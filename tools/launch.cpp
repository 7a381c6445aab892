#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/error.h"
#include "core/stop_signal.h"
#include "core/text.h"
#include "parallel/comm/rendezvous/tcp_socket.h"
#include "tools/commands.h"

namespace switchyard {

namespace {

constexpr const char* usage =
    "usage: switchyard launch -np N [--ranks-per-gpu K] -- SUBCOMMAND ARGUMENTS...\n\n"
    "Starts N ranks of a subcommand on this machine, each with a GPU of its own, without MPI.\n"
    "  -np N               ranks\n"
    "  --ranks-per-gpu K   K ranks share each GPU: slow, to test layouts (default 1)\n"
    "USR1, TERM and a first Ctrl-C let all ranks of `train` save and stop; a second Ctrl-C ends "
    "them.\n"
    "When a rank fails the others are ended, and its exit code is the launcher's; 76 when one was "
    "killed.\n"
    "On several machines start ranks with srun, or with mpirun.\n\n"
    "For example:\n  switchyard launch -np 8 -- train runs/main\n";

struct Plan {
  int ranks = 0;
  int ranks_per_gpu = 1;
  std::vector<std::string> words;  // subcommand and its arguments
};

int count_of(std::span<const std::string> arguments, size_t i) {
  const std::string& name = arguments[i];
  check(i + 1 < arguments.size(), "launch", "{} needs a number", name);
  const std::string& text = arguments[i + 1];
  const auto count = parse_number<int>(text);
  constexpr int most = 1024;
  check(count && *count >= 1 && *count <= most, "launch", "{} {}; 1 to {} is allowed", name, text,
        most);
  return *count;
}

constexpr const char* form = "; such as switchyard launch -np 2 -- train RUN ...";

Plan plan_of(Arguments arguments) {
  Plan plan;
  size_t i = 0;
  for (; i < arguments.size() && arguments[i] != "--"; i += 2) {
    const std::string& word = arguments[i];
    if (word == "-np" || word == "-n")
      plan.ranks = count_of(arguments, i);
    else if (word == "--ranks-per-gpu")
      plan.ranks_per_gpu = count_of(arguments, i);
    else
      fail("launch", "'{}' stands before --; allowed there: -np N, --ranks-per-gpu K{}", word,
           word.starts_with('-') ? "" : form);
  }
  check(plan.ranks > 0, "launch", "-np is missing: how many ranks?");
  check(i + 1 < arguments.size(), "launch", "-- and a subcommand are missing{}", form);
  plan.words.assign(arguments.begin() + static_cast<ptrdiff_t>(i) + 1, arguments.end());
  return plan;
}

void check_gpus(const Plan& plan) {
  const int gpus = gpu_count();
  check(
      gpus > 0, "launch",
      "this machine shows no GPU; on the CPU ranks talk over MPI: mpirun -np {} switchyard {} ...",
      plan.ranks, plan.words[0]);
  check(plan.ranks <= gpus * plan.ranks_per_gpu, "launch",
        "-np {} with {} GPUs and --ranks-per-gpu {}; at most {} ranks are allowed", plan.ranks,
        gpus, plan.ranks_per_gpu, gpus * plan.ranks_per_gpu);
}

// What one signal mask holds back for the launcher to take in turn.
sigset_t launcher_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int s : {SIGUSR1, SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&set, s);
  return set;
}

class Ranks {
 public:
  explicit Ranks(const Plan& plan);
  int run();  // until all have ended; the status to end with

 private:
  [[noreturn]] void become_rank(int rank) const;
  void reap();
  void note(int rank, int state);
  void pass_on(int number);
  void signal_all(int number) const;

  const Plan& plan_;
  const pid_t launcher_ = getpid();
  int port_ = 0;
  sigset_t before_{};
  std::map<pid_t, int> running_;  // the rank of each
  int status_ = 0;
  int passed_on_ = 0;         // the last signal
  bool has_stopped_ = false;  // a rank, as a signal asked
};

Ranks::Ranks(const Plan& plan) : plan_(plan) {
  {
    const TcpSocket any = listen_tcp(0);
    check(static_cast<bool>(any), "launch", "no free port is left on this machine");
    port_ = port_of(any);
  }
  const sigset_t mine = launcher_signals();
  sigprocmask(SIG_BLOCK, &mine, &before_);
  std::fflush(nullptr);
  for (int rank = 0; rank < plan.ranks; ++rank) {
    const pid_t child = fork();
    if (child == 0) become_rank(rank);
    if (child < 0) signal_all(SIGKILL);
    check(child > 0, "launch", "rank {} cannot be started", rank);
    running_[child] = rank;
  }
}

// In a process group of its own, so that the terminal's interrupt comes once, from the launcher.
void Ranks::become_rank(int rank) const {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != launcher_) std::_Exit(1);  // it has died before that line
  const auto set = [](const char* name, int value) {
    setenv(name, std::to_string(value).c_str(), 1);
  };
  set("RANK", rank);
  set("LOCAL_RANK", rank);
  set("WORLD_SIZE", plan_.ranks);
  set("LOCAL_WORLD_SIZE", plan_.ranks);
  set("MASTER_PORT", port_);
  set("SWITCHYARD_RANKS_PER_GPU", plan_.ranks_per_gpu);
  setenv("MASTER_ADDR", "127.0.0.1", 1);
  setenv("SWITCHYARD_LAUNCHED", "1", 1);
  sigprocmask(SIG_SETMASK, &before_, nullptr);  // the stop signals stay back until it takes them
  std::string program = "switchyard";
  std::vector<std::string> words = plan_.words;
  std::vector<char*> arguments{program.data()};
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  execv("/proc/self/exe", arguments.data());
  std::perror("switchyard: a rank cannot be started");
  std::_Exit(static_cast<int>(ExitCode::other));
}

void Ranks::signal_all(int number) const {
  for (const auto& [child, rank] : running_) kill(child, number);
}

// The terminal's interrupt lets ranks of `train` save as USR1 does, once; others end by it.
void Ranks::pass_on(int number) {
  if (number == SIGHUP) number = SIGTERM;  // the terminal has closed
  if (number == SIGINT && plan_.words[0] == "train") {
    const bool again = passed_on_ == SIGINT;
    if (!again)
      std::fprintf(stderr, "\nswitchyard: saving at the step's end; Ctrl-C again ends at once\n");
    signal_all(again ? SIGKILL : SIGUSR1);
  } else {
    signal_all(number);
  }
  passed_on_ = number;
}

void Ranks::reap() {
  int state = 0;
  for (pid_t child = 0; (child = waitpid(-1, &state, WNOHANG)) > 0;) {
    const auto found = running_.extract(child);
    if (!found.empty()) note(found.mapped(), state);
  }
}

// The first failure counts; ranks that were stopped and have saved are none.
void Ranks::note(int rank, int state) {
  // Ranks that a signal met before they had found each other end as they can.
  const int stopped = static_cast<int>(ExitCode::stopped);
  has_stopped_ |= passed_on_ != 0 && WIFEXITED(state) && WEXITSTATUS(state) == stopped;
  if (has_stopped_) status_ = stopped;
  if (has_stopped_ || (status_ != 0 && status_ != stopped)) return;
  if (!WIFSIGNALED(state)) {
    if (WEXITSTATUS(state) != 0) status_ = WEXITSTATUS(state);
    return;
  }
  const int number = WTERMSIG(state);
  if (number == passed_on_ || passed_on_ == SIGINT) {
    status_ = 130;
    return;
  }
  std::fprintf(stderr, "switchyard: [launch] rank %d was ended by signal %d (%s)\n", rank, number,
               strsignal(number));
  status_ = static_cast<int>(number == SIGKILL ? ExitCode::lost_peer : ExitCode::other);
}

int Ranks::run() {
  using Clock = std::chrono::steady_clock;
  using std::chrono::seconds;  // for ranks to end by themselves
  const sigset_t mine = launcher_signals();
  Clock::time_point deadline{};
  while (!running_.empty()) {
    const timespec pause{.tv_sec = 1, .tv_nsec = 0};
    const int number = sigtimedwait(&mine, nullptr, &pause);
    if (number > 0 && number != SIGCHLD) pass_on(number);
    reap();
    if (status_ == 0 || (status_ == static_cast<int>(ExitCode::stopped) && !has_stopped_)) continue;
    const auto now = Clock::now();
    if (deadline == Clock::time_point{}) {
      deadline = now + (has_stopped_ ? seconds(5) : seconds(3));
      if (!has_stopped_) signal_all(SIGTERM);
    } else if (now >= deadline) {
      signal_all(SIGKILL);
    }
  }
  sigprocmask(SIG_SETMASK, &before_, nullptr);
  return status_;
}

}  // namespace

int launch_command(Arguments arguments) {
  if (!arguments.empty() && (arguments[0] == "--help" || arguments[0] == "-h")) {
    std::printf("%s", usage);
    return 0;
  }
  const Plan plan = plan_of(arguments);
  hold_back_signals();  // one that comes while GPUs are looked for is for the ranks
  check_gpus(plan);
  return Ranks(plan).run();
}

}  // namespace switchyard
