#pragma once

#include "core/device.h"
#include "core/memory.h"

namespace switchyard::ops {

// What every operator runs with: where its work is queued and where its temporaries live.
struct Context {
  Stream& stream;
  Scratch& scratch;
};

}  // namespace switchyard::ops
