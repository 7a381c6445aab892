#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"

// Models as Hugging Face's transformers name, configure and store them.
namespace switchyard {

// By config.json's "model_type". Mistral and Qwen2 are Llama's layers with other options.
enum class Architecture : uint8_t { gpt2, gpt_neox, llama, mistral, qwen2 };
std::string_view name_of(Architecture architecture);  // "gpt2", "gpt_neox", ...
std::optional<Architecture> architecture_named(std::string_view model_type);
std::vector<std::string> architecture_names();

// The architecture that computes what this configuration does: the wanted one, or without one the
// first of gpt2, gpt_neox, llama, qwen2, mistral. Throws Error naming the option that is in the
// way.
Architecture architecture_of(const GptConfig& config, std::optional<Architecture> wanted = {});

}  // namespace switchyard
