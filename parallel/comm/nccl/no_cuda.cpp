#include "core/error.h"
#include "parallel/comm/communicators.h"

namespace switchyard {

struct NcclEnvironment::State {};

std::string make_nccl_id() { fail("nccl", "this build has no CUDA, and so no NCCL"); }

int nccl_version() { return 0; }

NcclEnvironment::NcclEnvironment(const Options&, const std::shared_ptr<ControlPlane>&) {
  fail("nccl", "this build has no CUDA, and so no NCCL; ranks on the CPU talk over MPI");
}

NcclEnvironment::~NcclEnvironment() = default;

Communicator& NcclEnvironment::world() { fail("nccl", "this build has no CUDA, and so no NCCL"); }

}  // namespace switchyard
