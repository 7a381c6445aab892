#include "core/error.h"
#include "parallel/comm/device_reduction.h"

namespace switchyard {

void reduce_on_device(std::span<const void* const>, void*, int64_t, DType, ReduceOp, Stream&) {
  fail("communicator", "this build has no CUDA; buffers in host memory can be reduced");
}

void poison_on_device(void*, int64_t, Stream&) {
  fail("communicator", "this build has no CUDA; buffers lie in host memory");
}

}  // namespace switchyard
