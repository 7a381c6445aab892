#pragma once

namespace switchyard {

// A first SIGUSR1, SIGTERM or SIGINT asks a rank to save at the step's end and stop. A second one
// ends it at once, with code 130 and whatever it does, but for a USR1 or TERM within 2 seconds: a
// launcher, Slurm and a batch script may each pass on the same request. So it is while an object of
// this class lives; behind it SIGUSR1 is ignored, as it may come several times. Objects may nest: a
// signal that came since the outermost began is never forgotten.
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
