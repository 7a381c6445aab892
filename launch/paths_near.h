#pragma once

#include <filesystem>
#include <vector>

namespace switchyard {

// Folders with a path.json near `place`, where one that was renamed or moved is looked for: up to
// two levels below its directory and below the one above; hidden ones are passed over. One that
// cannot be looked into is among them.
std::vector<std::filesystem::path> paths_near(const std::filesystem::path& place);

bool is_part_of_path(const std::filesystem::path& folder);  // checkpoints/ and its like

}  // namespace switchyard
