#pragma once

#include <span>
#include <string>
#include <vector>

#include "launch/path/options.h"

namespace switchyard {

// The name of `known` with the least edit distance to `word`, or the one that `word` begins; empty
// when none is near.
std::string nearest_name(const std::string& word, std::span<const std::string> known);

// How options of other trainers are answered here.
struct OptionAnswer {
  const char* names;  // with spaces around each; a * stands for any letters
  const char* here;
};
std::vector<OptionAnswer> option_answers();

// What to say of --`name`, which a command does not have: how an option of Megatron's or another
// trainer's is answered here, which commands have it, the nearest of the command's own, or where
// all are listed.
std::string unknown_option(const std::string& name, std::span<const OptionSpec> specs,
                           const OptionOwners& owners = {});

}  // namespace switchyard
