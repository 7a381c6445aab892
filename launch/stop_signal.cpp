#include "launch/stop_signal.h"

#include <csignal>

namespace switchyard {

namespace {

volatile std::sig_atomic_t stop_requested = 0;
int nested = 0;

void request_stop(int) { stop_requested = 1; }

void handle(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigaction(signal, &action, nullptr);
}

}  // namespace

StopSignal::StopSignal() {
  if (nested++ > 0) return;
  stop_requested = 0;
  handle(SIGUSR1, request_stop);
  handle(SIGTERM, request_stop);
}

StopSignal::~StopSignal() {
  if (--nested > 0) return;
  handle(SIGUSR1, SIG_DFL);
  handle(SIGTERM, SIG_DFL);
}

bool StopSignal::requested() { return stop_requested != 0; }

}  // namespace switchyard
