#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace switchyard {

struct CommandResult {
  int code = 0;        // as a shell says it: 128 and the signal's number where one ended it
  std::string output;  // standard output
  std::string errors;  // standard error, its first 4 kB
};

// Runs a program of the PATH to its end, with no input. Nothing where there is no such program, or
// where it has not ended in time: then it is killed.
std::optional<CommandResult> run_command(const std::vector<std::string>& words,
                                         std::chrono::milliseconds timeout);

}  // namespace switchyard
