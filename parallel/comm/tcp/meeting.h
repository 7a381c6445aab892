#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "parallel/comm/control_plane.h"
#include "parallel/comm/rendezvous/tcp_socket.h"

namespace switchyard {

struct Meeting {
  std::chrono::milliseconds timeout{};
  std::string host{};        // by which ranks know the machine of rank 0; empty: rank 0 says one
  std::string interface {};  // whose address others are told; empty: that of the route to rank 0
};

// A connection to each other rank, by rank; at this rank's own place an empty one. Collective;
// throws Error naming the ranks that have not come within the timeout.
std::vector<TcpSocket> connect_all(const Meeting& meeting, ControlPlane& control);

}  // namespace switchyard
