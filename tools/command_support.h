#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "launch/engine/world.h"
#include "launch/path/options.h"
#include "tools/commands.h"

namespace switchyard {

std::vector<OptionSpec> joined(std::initializer_list<std::vector<OptionSpec>> tables);

// Those of describe_repetitions(); of several ranks the first says them.
void say_repetitions(std::span<const std::string> lines);

// Parses, and says what is given again; or prints usage and options for --help and returns nothing.
std::optional<Command> parse_or_help(std::span<const OptionSpec> specs, Arguments arguments,
                                     const char* usage);

// Usage and options of a subcommand, which is asked for them instead of being run.
struct UsageAndOptions {
  std::string usage;
  std::vector<OptionSpec> options;
};
UsageAndOptions form_of(int (*command)(Arguments));

// For messages: which subcommands but `command` have --`name`, and why it has not; empty: none.
std::string owners_of(const std::string& command, const std::string& name);

// Runs a subcommand that uses all ranks: parse errors, too, are agreed on and printed once.
int run_on_all_ranks(std::span<const OptionSpec> specs, Arguments arguments, const char* usage,
                     const std::function<ExitCode(Command&, Communicator&)>& body);

}  // namespace switchyard
