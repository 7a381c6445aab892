#pragma once

#include <chrono>
#include <memory>

#include "parallel/comm/operation.h"
#include "parallel/comm/tcp/network.h"

namespace switchyard {

// A group over all ranks of a network, which must outlive it.
std::unique_ptr<Communicator> make_tcp_world(TcpNetwork& network, int size,
                                             std::chrono::milliseconds timeout);

}  // namespace switchyard
