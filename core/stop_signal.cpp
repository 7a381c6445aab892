#include "core/stop_signal.h"

#include <unistd.h>

#include <csignal>
#include <string_view>

namespace switchyard {

namespace {

volatile std::sig_atomic_t stop_requested = 0;
int nested = 0;

void request_stop(int signal) {
  stop_requested = 1;
  if (signal != SIGINT) return;
  constexpr std::string_view said =
      "\nswitchyard: saving at the step's end; Ctrl-C again ends at once\n";
  [[maybe_unused]] const auto ignored = write(STDERR_FILENO, said.data(), said.size());
}

void handle(int signal, void (*handler)(int), int flags = 0) {
  struct sigaction action {
  }, before{};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART | flags;
  sigaction(signal, &action, &before);
  const bool ignored = signal == SIGINT && before.sa_handler == SIG_IGN;  // as a script's & asks
  if (ignored) sigaction(signal, &before, nullptr);
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
  handle(SIGUSR1, request_stop);
  handle(SIGTERM, request_stop);
  handle(SIGINT, request_stop, static_cast<int>(SA_RESETHAND));
  take_held_back_signals();
}

StopSignal::~StopSignal() {
  if (--nested > 0) return;
  for (const int signal : {SIGTERM, SIGINT}) handle(signal, SIG_DFL);
  handle(SIGUSR1, SIG_IGN);
}

bool StopSignal::requested() { return stop_requested != 0; }

void take_held_back_signals() { change_mask(SIG_UNBLOCK); }

void hold_back_signals() { change_mask(SIG_BLOCK); }

}  // namespace switchyard
