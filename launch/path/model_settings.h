#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/path/options.h"
#include "model/config.h"

namespace switchyard {

// A model as options of the same names, and back.
Settings settings_of(const GptConfig& config);
GptConfig config_of(const Settings& settings);

// Model options as a whole: preset first, what is given over it, derived fields last. The
// vocabulary is the data's, or the larger one that was asked for. Throws Error.
Settings resolve_model(const Settings& given, int64_t data_vocabulary);

// What was filled in or rounded in a model that was asked for by these options, a line for each.
std::vector<std::string> rounded_sizes(const GptConfig& config, const Settings& given);

}  // namespace switchyard
