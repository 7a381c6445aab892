#pragma once

#include <span>
#include <string>
#include <vector>

#include "launch/path/options.h"

namespace switchyard {

// A line of a --config file: `name = value`, or the name of a flag alone. A value is words between
// blanks; a word between 'single' or "double" quotes may hold blanks and '#', and a backslash takes
// the meaning from a blank, '#', quote or backslash behind it. '#' begins a comment elsewhere.
struct ConfigLine {
  int number = 0;  // from 1
  std::string name;
  bool has_value = false;
  bool quoted = false;             // whether a quote or backslash had a meaning
  std::string text;                // the value as written, without comment
  std::vector<std::string> words;  // the value's
};

// The lines of a file that say something. Throws Error naming file and line.
std::vector<ConfigLine> read_config_lines(const std::string& file);

// Sets the options that a file gives and `to` has not. Throws Error naming file and line.
void read_config_file(const std::string& file, std::span<const OptionSpec> specs, Settings& to,
                      const OptionOwners& owners = {});

}  // namespace switchyard
