#include "core/cuda/kernel.h"
#include "core/ops/backends.h"
#include "core/ops/update_control_decide.h"

namespace switchyard::ops {

namespace {

__global__ void update_control_kernel(UpdateControlPointers tensors, UpdateControlOptions options) {
  decide_update(tensors, options);
}

}  // namespace

void cuda::update_control(const Context& context, const UpdateControl& tensors,
                          const UpdateControlOptions& options) {
  switchyard::cuda::launch("update_control", update_control_kernel, {.threads = 1}, context.stream,
                           UpdateControlPointers(tensors), options);
}

}  // namespace switchyard::ops
