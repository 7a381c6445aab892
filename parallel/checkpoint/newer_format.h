#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace switchyard {

inline constexpr int64_t newest_format_version = 3;  // that this program reads

// The format version of a checkpoint that a newer program has written; nothing where this program
// reads it, or where the master is no such file or damaged.
std::optional<int64_t> newer_format_version(const std::filesystem::path& folder);

}  // namespace switchyard
