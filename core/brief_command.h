#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace switchyard {

struct CommandOutput {
  int status = 0;    // as of waitpid()
  std::string text;  // of both outputs
};

// Runs a program of the PATH that answers with a few lines, such as squeue, without input; none:
// there is no such program, or it did not end within `limit` and was killed. No shell takes part.
std::optional<CommandOutput> output_of(const std::vector<std::string>& words,
                                       std::chrono::milliseconds limit);

}  // namespace switchyard
