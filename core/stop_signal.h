#pragma once

namespace switchyard {

// SIGUSR1, SIGTERM and a first SIGINT ask a rank to save at the step's end and stop; a second
// SIGINT ends it at once. While an object of this class lives they set a flag instead of ending the
// process; behind it SIGUSR1 is ignored, as it may come several times. Objects may nest: a signal
// that came since the outermost began is never forgotten.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  static bool requested();
};

// `switchyard launch` starts its ranks with these signals held back, so that none comes before a
// rank knows what to do with it. From here on they come.
void take_held_back_signals();
void hold_back_signals();

}  // namespace switchyard
