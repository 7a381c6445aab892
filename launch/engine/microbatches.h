#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "model/step_inputs.h"

namespace switchyard {

// Fills tokens and targets [sequence_length] of a sample, by its number in the batch.
using ReadSample =
    std::function<void(int64_t sample, std::span<int32_t> tokens, std::span<int32_t> targets)>;

// Reads a microbatch in host memory, from its first sample on. Samples behind the last of `samples`
// are padding whose targets do not count. Throws Error for numbers that are no token, and what
// `read` throws.
void read_microbatch(const TokenBatch& batch, int64_t samples, int64_t vocabulary,
                     const ReadSample& read);

// Targets that count; the microbatches are in host memory.
int64_t scored_tokens(std::span<const TokenBatch> batches);

}  // namespace switchyard
