#pragma once

#include <string>
#include <utility>
#include <vector>

namespace switchyard {

// A script for sbatch that ends with one command, which takes the place of the shell: the signal
// and the exit code are its own.
struct BatchScript {
  std::vector<std::pair<std::string, std::string>> directives;  // name and value; may be empty
  std::vector<std::string> more;                                // whole options, as given
  std::vector<std::string> command;                             // its first word is a file
  bool is_array = false;  // '%a' in a word stands for the task's number
};

// Text whose words a shell reads as they were given, whatever is in them. Throws Error for a value
// that no #SBATCH line can hold.
std::string text_of(const BatchScript& script);

// "#SBATCH --NAME=VALUE" as sbatch reads it back; of an empty value the name alone. Throws Error
// for a line break.
std::string directive(const std::string& name, const std::string& value);

// The file of a log in Slurm's patterns: '%' of the name itself is doubled.
std::string log_pattern(const std::string& file);

}  // namespace switchyard
