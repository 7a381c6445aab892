#pragma once

#include <random>

#include "model/exchange/architecture.h"

namespace switchyard::test {

// A small model of the architecture with odd sizes, each of its options drawn; of all biases
// linear_bias alone says so.
GptConfig random_model(Architecture architecture, std::mt19937& random);

inline constexpr Architecture all_architectures[] = {Architecture::gpt2, Architecture::gpt_neox,
                                                     Architecture::llama, Architecture::mistral,
                                                     Architecture::qwen2};

}  // namespace switchyard::test
