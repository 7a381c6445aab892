#pragma once

namespace switchyard {

// SIGUSR1 and SIGTERM ask a rank to save at the step's end and stop. While an object of this class
// lives they set a flag instead of ending the process. Objects may nest: a signal that came since
// the outermost began is never forgotten.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  static bool requested();
};

}  // namespace switchyard
