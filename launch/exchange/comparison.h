#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "model/exchange/streamed_logits.h"

namespace switchyard {

// Compares the logits of a Hugging Face folder, read anew by what it says itself
// (reference_logits), with those of the model's own layers over `load`'s weights, on tokens spread
// over the vocabulary, and logs the largest difference. Throws Error for one above 1e-3 of the
// largest logit, or of 1.
// `rounded`: the dtype that the weights were rounded to on their way out of the folder.
void compare_logits(const std::filesystem::path& folder, const GptConfig& config,
                    const LoadWeights& load, std::optional<DType> rounded = {});

// What a conversion may hold of weights: `given`, or without it (0) what it needs. Throws Error
// where comparing needs more than was given.
int64_t conversion_memory(int64_t given, const GptConfig& config, bool compares);

// Of that, a part of a tensor that is read, converted and written at once.
int64_t conversion_part(int64_t memory);

}  // namespace switchyard
