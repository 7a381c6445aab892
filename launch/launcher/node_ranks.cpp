#include "launch/launcher/node_ranks.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/error.h"
#include "core/printable.h"
#include "launch/launcher/process_state.h"
#include "launch/launcher/rank_environment.h"
#include "launch/slurm/slurm_variables.h"
#include "parallel/comm/rendezvous/job_identity.h"
#include "parallel/comm/rendezvous/tcp_socket.h"

namespace switchyard {

namespace {

constexpr int stopped = static_cast<int>(ExitCode::stopped);
constexpr int lost_peer = static_cast<int>(ExitCode::lost_peer);
constexpr int timed_out = static_cast<int>(ExitCode::timed_out);

// What one signal mask holds back for the launcher to take in turn.
sigset_t launcher_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int s : {SIGUSR1, SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&set, s);
  return set;
}

int port_for(const LaunchPlan& plan) {
  if (plan.master_port > 0) return plan.master_port;
  const TcpSocket any = listen_tcp(0);
  check(static_cast<bool>(any), "launch", "no free port is left on this machine");
  return port_of(any);
}

// Of the launcher, and so of its ranks. Some libraries do not look whether they are given memory.
std::string describe_address_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return "";
  return fmt::format("; 'ulimit -v' allows {} KiB: where these are used up libraries may end so",
                     limit.rlim_cur / 1024);
}

}  // namespace

NodeRanks::NodeRanks(const LaunchPlan& plan) : plan_(plan), port_(port_for(plan)) {
  const sigset_t mine = launcher_signals();
  sigprocmask(SIG_BLOCK, &mine, &before_);
  std::fflush(nullptr);
  for (int local = 0; local < plan.ranks; ++local) {
    const pid_t child = fork();
    if (child == 0) become_rank(local);
    if (child < 0) refuse_start(local, errno);
    running_[child] = local;
  }
}

void NodeRanks::refuse_start(int local, int why) const {
  signal_all(SIGKILL);
  const char* limits = why == EAGAIN ? "'ulimit -u' and pids.max of the control group"
                                     : "the machine and its control group";
  fail("launch", "local rank {} of {} cannot be started: {}; what may limit it: {}", local,
       plan_.ranks, std::strerror(why), limits);
}

// In a process group of its own, so that the terminal's interrupt comes once, from the launcher.
void NodeRanks::become_rank(int local) const {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != launcher_) std::_Exit(1);  // it has died before that line
  set_rank_environment(plan_, local, port_);
  faults_.hand_on();
  sigprocmask(SIG_SETMASK, &before_, nullptr);  // the stop signals stay back until it takes them
  std::string program = "switchyard";
  std::vector<std::string> words = plan_.words;
  std::vector<char*> arguments{program.data()};
  arguments.reserve(words.size() + 2);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  execv("/proc/self/exe", arguments.data());
  std::perror("switchyard: a rank cannot be started");
  std::_Exit(static_cast<int>(ExitCode::other));
}

void NodeRanks::signal_all(int number) const {
  for (const auto& [child, local] : running_) kill(child, number);
}

// A second request. In a step of Slurm USR1 and TERM come from more sides than one, and KILL
// follows.
bool NodeRanks::ends_at_once(int number) {
  const bool is_new = requests_.take(number);
  return is_new && requests_.count() > 1 && (number == SIGINT || !slurm_step());
}

// The terminal's interrupt lets ranks of `train` save as USR1 does; others end by it.
void NodeRanks::pass_on(int number) {
  if (number == SIGHUP) number = SIGTERM;  // the terminal has closed
  const bool trains = plan_.words[0] == "train";
  if (trains && ends_at_once(number)) {
    if (!is_ending_) mention_second(number);
    is_ending_ = true;
    signal_all(SIGKILL);
  } else if (trains && number == SIGINT) {
    std::fprintf(stderr, "\nswitchyard: saving at the step's end; Ctrl-C again ends at once\n");
    signal_all(SIGUSR1);
  } else if (passed_on_.empty() || !trains) {
    signal_all(number);
  }
  passed_on_.insert(number);
}

void NodeRanks::reap() {
  int state = 0;
  for (pid_t child = 0; (child = waitpid(-1, &state, WNOHANG)) > 0;) {
    const auto found = running_.extract(child);
    if (!found.empty()) note(found.mapped(), state);
  }
}

bool NodeRanks::has_failed() const { return status_ != 0 && status_ != stopped; }

// The first failure counts; ranks that were stopped and have saved are none.
void NodeRanks::note(int local, int state) {
  // Ranks that a signal met before they had found each other end as they can.
  has_stopped_ |= !passed_on_.empty() && WIFEXITED(state) && WEXITSTATUS(state) == stopped;
  if (has_stopped_) status_ = stopped;
  if (WIFEXITED(state) && WEXITSTATUS(state) == stopped && passed_on_.empty())
    stop_others_ = std::min(stop_others_, Clock::now() + std::chrono::seconds(3));
  if (WIFSIGNALED(state)) return note_signal(local, WTERMSIG(state));
  const int code = WEXITSTATUS(state);
  if (status_ == stopped && code == lost_peer) {  // the one that has stopped
    stop_others_ = std::min(stop_others_, Clock::now());
    return;
  }
  // One that waited says 77; those that then lost it, 76.
  const bool explains = status_ == lost_peer && code == timed_out;
  if (!has_stopped_ && code != 0 && (!has_failed() || explains)) status_ = code;
}

void NodeRanks::note_signal(int local, int number) {
  if (looked_ || (has_failed() && number == SIGTERM)) return;  // ended by this launcher
  const bool asked = passed_on_.contains(number) || passed_on_.contains(SIGINT) || is_ending_;
  if (!asked)
    report(local,
           fmt::format("was ended by signal {} ({}){}", number, strsignal(number),
                       number == SIGSEGV ? describe_address_limit() : ""),
           "");
  if (!has_stopped_ && !has_failed()) status_ = asked ? 130 : lost_peer;
}

void NodeRanks::report(int local, const std::string& what, const std::string& text) const {
  const std::string line =
      fmt::format("rank {} on {} {}", plan_.node * plan_.ranks + local, job_identity().host, what);
  const std::string where = faults_.add(fmt::format("{}\n{}", line, text));
  std::fprintf(stderr, "switchyard: [launch] %s%s\n", line.c_str(), printable_lines(where).c_str());
}

void NodeRanks::look_at_those_left() {
  if (looked_) return;
  looked_ = true;
  for (const auto& [child, local] : running_) {
    const ProcessState state = look_at_process(child);
    report(local, state.words + " and does not end: it is killed", state.text);
  }
}

// A rank that does not run: stopped for some seconds, or in disk sleep for longer than a save is.
// Ranks of other nodes will end by it, and a scheduler that then ends all wakes it first, or kills
// it without a word. Called once a second.
void NodeRanks::mention_stuck() {
  constexpr int seconds_stopped = 3, seconds_in_sleep = 60, behind_a_signal = 5;
  for (const auto& [child, local] : running_) {
    const char state = state_of_process(child);
    const bool sleeps = state == 'D';
    int& count = stuck_[child];
    count = state == 'T' || state == 't' || sleeps ? count + 1 : 0;
    const int most = !sleeps               ? seconds_stopped
                     : !passed_on_.empty() ? behind_a_signal
                                           : seconds_in_sleep;
    if (count != most) continue;
    const ProcessState found = look_at_process(child);
    report(local, found.words, found.text);
  }
}

// A signal may come to one rank alone, and that one end by it where it waits for the others in the
// start: they hear of it from here. Ranks that train end together.
void NodeRanks::stop_those_left() {
  if (status_ != stopped || Clock::now() < stop_others_) return;
  stop_others_ = Clock::time_point::max();
  pass_on(SIGUSR1);
  has_stopped_ = true;
}

// Once one has failed the others end by themselves: lost peers, or the TERM that they get.
void NodeRanks::end_by_deadline() {
  using std::chrono::seconds;
  if (status_ == 0 || (status_ == stopped && !has_stopped_)) return;
  const auto now = Clock::now();
  if (deadline_ == Clock::time_point{}) {
    deadline_ = now + (has_stopped_ ? seconds(10) : seconds(6));
    if (!has_stopped_) signal_all(SIGTERM);
  } else if (now >= deadline_) {
    look_at_those_left();
    signal_all(SIGKILL);
  }
}

RanksEnd NodeRanks::run() {
  const sigset_t mine = launcher_signals();
  while (!running_.empty()) {
    const timespec pause{.tv_sec = 1, .tv_nsec = 0};
    const int number = sigtimedwait(&mine, nullptr, &pause);
    if (number > 0 && number != SIGCHLD) pass_on(number);
    reap();
    if (number < 0) mention_stuck();  // a second has passed
    stop_those_left();
    end_by_deadline();
  }
  sigprocmask(SIG_SETMASK, &before_, nullptr);
  return {.code = status_, .was_asked = !passed_on_.empty()};
}

}  // namespace switchyard
