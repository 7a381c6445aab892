#pragma once

#include <string>
#include <vector>

#include "core/json.h"
#include "launch/path/options.h"

namespace switchyard {

// An option's value in files: numbers are numbers and flags booleans, so that a reader finds what
// is meant. Back again: throws nlohmann's exception for another kind of value.
Json option_json(const OptionSpec& spec, const Settings& settings);
std::vector<std::string> option_text(const OptionSpec& spec, const Json& value);

}  // namespace switchyard
