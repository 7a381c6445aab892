#pragma once

#include <functional>
#include <span>
#include <vector>

#include "model/config.h"
#include "parallel/parameter.h"

namespace switchyard {

// Fills weights that are bound to host memory, in fp32.
using LoadWeights = std::function<void(std::span<const Parameter> parameters)>;

// The logits [tokens, vocabulary] of the model's own layers in fp32 on the CPU, with the weights of
// one layer at a time in memory. Throws Error for a token that the vocabulary has not and for more
// tokens than learned positions.
std::vector<float> streamed_logits(const GptConfig& config, std::span<const int32_t> tokens,
                                   const LoadWeights& load);
// Bytes of weights at once.
int64_t streamed_bytes(const GptConfig& config);

}  // namespace switchyard
