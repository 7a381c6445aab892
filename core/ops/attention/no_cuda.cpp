#include "core/ops/attention/attention.h"

// In a build without CUDA there is no cuDNN either.
namespace switchyard::ops {

int64_t cudnn_version() { return 0; }

}  // namespace switchyard::ops
