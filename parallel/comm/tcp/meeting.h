#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "parallel/comm/control_plane.h"
#include "parallel/comm/tcp/peer.h"

namespace switchyard {

struct Meeting {
  std::chrono::milliseconds timeout{};
  std::string host{};  // by which ranks know the machine of rank 0; empty: rank 0 says one
  std::string interface_name{};  // others are told its address; empty: of the route to rank 0
  bool through_memory = true;
};

// Connects each rank to all others, which are returned by rank, at this one's place none.
// Collective; throws Error naming the ranks that have not come within the timeout.
std::vector<TcpPeer> connect_all(const Meeting& meeting, ControlPlane& control);

}  // namespace switchyard
