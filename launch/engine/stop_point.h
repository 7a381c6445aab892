#pragma once

#include "core/error.h"
#include "parallel/comm/control_plane.h"

namespace switchyard {

// Before a start's first step there is nothing to save, so a signal that asks to stop ends it at
// the next stop point, as an error with the code `stopped`. Outside of such a start, as in `eval`
// or while a step is made, stop points do nothing. One at a time in a process.
class EndableStart {
 public:
  EndableStart();
  ~EndableStart();
  EndableStart(const EndableStart&) = delete;
  EndableStart& operator=(const EndableStart&) = delete;
};

class StoppedStart : public Error {
 public:
  using Error::Error;
};

// Of this rank alone, within what all ranks agree on: between the parts of long work.
void stop_point();
// All ranks end where one is asked. Collective.
void stop_point(ControlPlane& control);

}  // namespace switchyard
