#include "core/ops/cpu_identity.h"

#include "core/ops/highway.h"

#include <hwy/highway.h>

namespace switchyard::ops {

CpuIdentity cpu_identity() {
  const int64_t possible = hwy::SupportedTargets() & HWY_TARGETS;  // the best is the lowest bit
  CpuIdentity identity{hwy::TargetName(possible & -possible), "", ""};
  cpu::describe_products(identity);
  return identity;
}

}  // namespace switchyard::ops
