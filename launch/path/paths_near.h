#pragma once

#include <filesystem>
#include <span>
#include <vector>

namespace switchyard {

// Folders with a path.json near these places, where one that was renamed or moved is looked for: up
// to two levels below a place's directory and below the one above; hidden ones are passed over.
// Each is named once, those near the first place first. One that cannot be looked into is among
// them.
std::vector<std::filesystem::path> paths_near(std::span<const std::filesystem::path> places);

bool is_part_of_path(const std::filesystem::path& folder);  // checkpoints/ and its like

}  // namespace switchyard
