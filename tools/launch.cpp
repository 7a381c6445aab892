#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/error.h"
#include "parallel/tcp_socket.h"
#include "tools/commands.h"

namespace switchyard {

namespace {

constexpr const char* usage =
    "usage: switchyard launch -np N [--ranks-per-gpu K] -- SUBCOMMAND ARGUMENTS...\n\n"
    "Starts N ranks of a subcommand on this machine, each with a GPU of its own, without MPI.\n"
    "  -np N               ranks\n"
    "  --ranks-per-gpu K   K ranks share each GPU: slow, to test layouts (default 1)\n"
    "USR1, TERM and INT go to all ranks. When a rank fails the others are ended, and its status "
    "is\n"
    "the launcher's. On several machines start ranks with srun, or with mpirun.\n";

struct Plan {
  int ranks = 0;
  int ranks_per_gpu = 1;
  std::vector<std::string> words;  // subcommand and its arguments
};

int count_of(std::span<const std::string> arguments, size_t i) {
  const std::string& name = arguments[i];
  check(i + 1 < arguments.size(), "launch", "{} needs a number", name);
  const std::string& text = arguments[i + 1];
  int count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  constexpr int most = 1024;
  check(error == std::errc() && end == text.data() + text.size() && count >= 1 && count <= most,
        "launch", "{} {}; 1 to {} is allowed", name, text, most);
  return count;
}

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
      fail("launch", "'{}' stands before --; allowed there: -np N, --ranks-per-gpu K", word);
  }
  check(plan.ranks > 0, "launch", "-np is missing: how many ranks?");
  check(i + 1 < arguments.size(), "launch", "-- and a subcommand are missing");
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
  for (const int s : {SIGUSR1, SIGTERM, SIGINT, SIGCHLD}) sigaddset(&set, s);
  return set;
}

class Ranks {
 public:
  explicit Ranks(const Plan& plan);
  int run();  // until all have ended; the status to end with

 private:
  [[noreturn]] void become_rank(int rank) const;
  void reap();
  void signal_all(int number) const;

  const Plan& plan_;
  const pid_t launcher_ = getpid();
  int port_ = 0;
  sigset_t before_{};
  std::vector<pid_t> running_;
  int status_ = 0;
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
    running_.push_back(child);
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
  sigprocmask(SIG_SETMASK, &before_, nullptr);
  std::string program = "switchyard";
  std::vector<std::string> words = plan_.words;
  std::vector<char*> arguments{program.data()};
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  execv("/proc/self/exe", arguments.data());
  std::perror("switchyard: a rank cannot be started");
  std::_Exit(127);
}

void Ranks::signal_all(int number) const {
  for (const pid_t child : running_) kill(child, number);
}

void Ranks::reap() {
  int state = 0;
  for (pid_t child = 0; (child = waitpid(-1, &state, WNOHANG)) > 0;) {
    std::erase(running_, child);
    const int status = WIFSIGNALED(state) ? 128 + WTERMSIG(state) : WEXITSTATUS(state);
    if (status_ == 0) status_ = status;
  }
}

int Ranks::run() {
  constexpr int patience = 3;  // seconds that ranks have to end by themselves
  const sigset_t mine = launcher_signals();
  time_t deadline = 0;
  while (!running_.empty()) {
    const timespec pause{.tv_sec = 1, .tv_nsec = 0};
    const int number = sigtimedwait(&mine, nullptr, &pause);
    if (number > 0 && number != SIGCHLD) signal_all(number);
    reap();
    if (status_ == 0) continue;
    const time_t now = std::time(nullptr);
    if (deadline == 0) {
      deadline = now + patience;
      signal_all(SIGTERM);
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
  check_gpus(plan);
  return Ranks(plan).run();
}

}  // namespace switchyard
