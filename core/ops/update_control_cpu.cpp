#include "core/ops/backends.h"
#include "core/ops/update_control_decide.h"

namespace switchyard::ops {

void cpu::update_control(const Context&, const UpdateControl& tensors,
                         const UpdateControlOptions& options) {
  decide_update(UpdateControlPointers(tensors), options);
}

}  // namespace switchyard::ops
