#pragma once

#include <filesystem>
#include <string>

namespace switchyard {

// What tells that a folder without path.json is there for something else, in words that follow its
// name: the root of the file system, a checkout, a home folder, an installation, a published model,
// a folder of paths. Empty for any other: what goes with a run (outputs of a batch system, logs,
// options, events, data) may be there before it.
std::string foreign_contents(const std::filesystem::path& folder);

}  // namespace switchyard
