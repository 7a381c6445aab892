#pragma once

#include "parallel/comm/control_plane.h"

// What every control plane does; collective. They throw Error at what is not as it should be.
namespace switchyard {

void check_texts(ControlPlane& control);
void check_agreement(ControlPlane& control);
// Groups of ranks, each a control plane of its own.
void check_groups(ControlPlane& control);
// This thread and another one agree at once, each rank in its own pace.
void check_two_threads(ControlPlane& control, int rounds);

}  // namespace switchyard
