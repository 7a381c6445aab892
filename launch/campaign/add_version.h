#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace switchyard {

struct NewVersion {
  std::string name;
  int64_t steps = 0;
  std::vector<std::string> data{};      // as --data-path takes it; from the working folder
  std::optional<double> share{};        // none: as [branch] says
  std::vector<std::string> held_out{};  // NAME=PREFIX each
};

// Adds a [[version]] at the end of a campaign's file, whose other lines stay as they are. The file
// is replaced at once; `run` takes it up. Throws Error where the campaign would not be one.
void add_version(const std::filesystem::path& file, const NewVersion& version);

}  // namespace switchyard
