#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace switchyard {

inline constexpr int64_t newest_format_version = 3;  // that this program reads

// Of a checkpoint that a newer program has written: its format version and what this program reads.
// Nothing where it reads that, or where the master is no such file or damaged.
std::optional<std::string> describe_newer_format(const std::filesystem::path& folder);

}  // namespace switchyard
