#pragma once

#include <span>
#include <string>
#include <vector>

#include "launch/path/options.h"

namespace switchyard {

// What does not count of arguments that parse_command() takes, as their option is given again with
// another value: "--lr given 2 times: 3e-4 counts, not 6e-4", a line for each option.
std::vector<std::string> describe_repetitions(std::span<const OptionSpec> specs,
                                              std::span<const std::string> arguments);

}  // namespace switchyard
