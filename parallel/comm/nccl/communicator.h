#pragma once

#include <memory>
#include <string>

#include "parallel/comm/checked_communicator.h"
#include "parallel/comm/nccl/lane.h"

namespace switchyard {

// A group over a communicator of NCCL's in the making, which it takes over; collective over its
// members.
std::unique_ptr<CheckedCommunicator> make_nccl_group(NcclProcess& process, const Member& self,
                                                     ncclComm_t comm);

// How every communicator of the product is made.
ncclConfig_t nccl_config(const std::string& name);

}  // namespace switchyard
