#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "core/dtype.h"

namespace switchyard {

// The logits [tokens, vocabulary] of a Hugging Face folder, as its config.json and the names and
// layouts of its tensors say them: a second reading, in fp32, that shares nothing with what
// converts (no weight map, no GptConfig, no layer of model/), so that a mistake there shows as a
// difference. Layer by layer; of the files no more than part of a tensor is held. For folders that
// read_foreign_config and weight_maps accept. `rounded`: as if the weights were stored in that
// dtype.
std::vector<float> reference_logits(const std::filesystem::path& folder,
                                    std::span<const int32_t> tokens,
                                    std::optional<DType> rounded = {});

}  // namespace switchyard
