#include "core/stop_signal.h"

#include <time.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace switchyard {

namespace {

// A launcher, Slurm and a batch script may each pass one request on: what comes so soon behind a
// first one is the same.
constexpr long same_request_ms = 2000;
constexpr int exit_code_of_second = 130;

volatile std::sig_atomic_t stop_requested = 0;
volatile long first_ms = 0;
int nested = 0;

long now_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

void say(std::string_view text) {
  [[maybe_unused]] const auto ignored = write(STDERR_FILENO, text.data(), text.size());
}

// Whether a second TERM is a launcher's or Slurm's own, behind a failure that they have named: the
// user's signals reach such a rank once, and a second one of the user's comes as KILL.
enum Sender : uint8_t { anyone, parent_tidies_up, all_tidy_up };
volatile std::sig_atomic_t sender = anyone;

Sender sender_by_environment() {
  const bool launched = std::getenv("SWITCHYARD_LAUNCHED") != nullptr;
  const bool in_step = std::getenv("SLURM_STEP_ID") != nullptr;
  if (launched && in_step) return all_tidy_up;
  return launched || in_step ? parent_tidies_up : anyone;
}

bool is_tidying_up(int signal, const siginfo_t& info) {
  if (signal != SIGTERM || sender == anyone) return false;
  return sender == all_tidy_up || info.si_pid == getppid();
}

void request_stop(int signal, siginfo_t* info, void*) {
  if (stop_requested == 0) {
    first_ms = now_ms();
    stop_requested = 1;
    if (signal == SIGINT)
      say("\nswitchyard: saving at the step's end; Ctrl-C again ends at once\n");
    return;
  }
  if (signal != SIGINT && now_ms() - first_ms < same_request_ms) return;
  if (signal == SIGINT) {  // the way a shell wants to see it
    ::signal(SIGINT, SIG_DFL);
    raise(SIGINT);
    return;
  }
  if (!is_tidying_up(signal, *info)) say("switchyard: ends at once by a second signal\n");
  _exit(exit_code_of_second);
}

void handle(int signal, struct sigaction action) {
  struct sigaction before {};
  action.sa_flags |= SA_RESTART;
  sigaction(signal, &action, &before);
  const bool ignored = signal == SIGINT && before.sa_handler == SIG_IGN;  // as a script's & asks
  if (ignored) sigaction(signal, &before, nullptr);
}

struct sigaction stopping() {
  struct sigaction action {};
  action.sa_sigaction = request_stop;
  action.sa_flags = SA_SIGINFO;
  return action;
}

struct sigaction plain(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  return action;
}

void change_mask(int how) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGUSR1, SIGTERM, SIGINT}) sigaddset(&set, signal);
  sigprocmask(how, &set, nullptr);
}

}  // namespace

StopSignal::StopSignal() {
  if (nested++ > 0) return;
  stop_requested = 0;
  sender = sender_by_environment();
  for (const int signal : {SIGUSR1, SIGTERM, SIGINT}) handle(signal, stopping());
  take_held_back_signals();
}

StopSignal::~StopSignal() {
  if (--nested > 0) return;
  for (const int signal : {SIGTERM, SIGINT}) handle(signal, plain(SIG_DFL));
  handle(SIGUSR1, plain(SIG_IGN));
}

bool StopSignal::requested() { return stop_requested != 0; }

void take_held_back_signals() { change_mask(SIG_UNBLOCK); }

void hold_back_signals() { change_mask(SIG_BLOCK); }

}  // namespace switchyard
