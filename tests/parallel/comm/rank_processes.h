#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "parallel/comm/rendezvous/store.h"

namespace switchyard {

using MakeStore = std::function<std::unique_ptr<Store>(const Store::Options&)>;

int free_port();
// Runs body(rank) in a process for each rank; what they return, or the errors that they end with.
std::vector<std::string> run_processes(int ranks, const std::function<std::string(int)>& body);

}  // namespace switchyard
