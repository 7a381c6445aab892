#pragma once

#include <cstdint>
#include <string>

#include "launch/engine/engine.h"

namespace switchyard {

// Compares, bit for bit by hashes, the weights that several ranks hold alike: all of a rank's over
// dp, the replicated ones (norms, biases of row-parallel products, shared k and v) over tp, a tied
// embedding over first and last stage. Where they differ it throws AgreedError (ExitCode::differs)
// naming the ranks that differ from most, or all where there is no majority, and the tensors;
// `advice` ends the message. What only one rank holds is not looked at: master weights and moments
// of its shard. Behind finished steps; collective.
void check_replicas(Engine& engine, int64_t step, const std::string& advice);

}  // namespace switchyard
