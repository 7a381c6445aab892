#include "core/error.h"
#include "core/ops/matmul/tuning.h"

// Linked in place of tune_cuda.cpp where a build has no CUDA.
namespace switchyard::ops {

namespace {

[[noreturn]] void missing() {
  fail("matmul tuning", "this build has no CUDA: products of the cpu are not timed");
}

}  // namespace

TuningIdentity tuning_identity() { missing(); }

void tune_matmuls(const Context&, std::span<const MatmulProduct>, MatmulTuning&,
                  const MatmulTimer&) {
  missing();
}

}  // namespace switchyard::ops
