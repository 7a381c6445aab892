#include "launch/engine/stop_point.h"

#include <atomic>

#include "core/stop_signal.h"

namespace switchyard {

namespace {

std::atomic<bool> endable = false;

}  // namespace

EndableStart::EndableStart() { endable = true; }

EndableStart::~EndableStart() { endable = false; }

void stop_point() {
  if (!endable || !StopSignal::requested()) return;
  throw StoppedStart(
      "[train] stopped before the first step of this start, as a signal asked; nothing is lost",
      ExitCode::stopped);
}

void stop_point(ControlPlane& control) {
  if (!endable) return;
  control.agree([] { stop_point(); });
}

}  // namespace switchyard
