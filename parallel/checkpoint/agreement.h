#pragma once

#include <functional>
#include <string>
#include <vector>

#include "parallel/comm/communicator.h"

namespace switchyard {

// Runs `body` on this rank; then all ranks learn whether all succeeded, and otherwise all throw one
// Error with what each failing rank said. Collective.
void agree(Communicator& comm, const std::function<void()>& body);

// Every rank's text, by rank. Collective.
std::vector<std::string> gather_texts(Communicator& comm, const std::string& mine);

}  // namespace switchyard
