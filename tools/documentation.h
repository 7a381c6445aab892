#pragma once

#include <span>
#include <string>
#include <vector>

#include "launch/path/options.h"

namespace switchyard {

// A subcommand as its option table describes it.
struct CommandForm {
  std::string name;
  std::string help;   // what it is for, in a line
  std::string usage;  // behind "switchyard"
  std::string example;
  std::vector<OptionSpec> options;
};

// Texts for an installation; every option of every form is in each of them.
std::string man_page(std::span<const CommandForm> forms);
std::string bash_completion(std::span<const CommandForm> forms);
std::string zsh_completion(std::span<const CommandForm> forms);
std::string options_page(std::span<const CommandForm> forms);  // docs/options.md
// One of them by its kind: man, bash, zsh, options. Throws Error for another one.
std::string documentation(const std::string& kind, std::span<const CommandForm> forms);

}  // namespace switchyard
