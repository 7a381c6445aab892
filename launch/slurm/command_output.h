#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace switchyard {

// A short command of Slurm's, found in the PATH, and what it printed.
struct CommandOutput {
  int code = 0;        // 127: it is not there; 124: it did not end in time, and was killed
  std::string out;     // standard output, and where asked standard error
  std::vector<std::string> lines() const;
};
struct CommandRequest {
  std::vector<std::string> words;
  std::chrono::seconds patience{30};
  bool with_errors = false;  // else they go where this process's do
};
CommandOutput output_of(const CommandRequest& request);

}  // namespace switchyard
