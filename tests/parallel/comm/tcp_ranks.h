#pragma once

#include <chrono>
#include <functional>

#include "parallel/comm/communicators.h"

namespace switchyard {

// Runs body(world) on threads of this process that are each a rank over TCP, as processes would be.
// What a rank throws fails the test.
void run_tcp_ranks(int ranks, std::chrono::milliseconds timeout,
                   const std::function<void(Communicator& world)>& body,
                   bool through_memory = true);

}  // namespace switchyard
