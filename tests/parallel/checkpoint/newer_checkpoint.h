#pragma once

#include <cstdint>
#include <filesystem>

namespace switchyard::test {

// Makes a saved step one of a format version that only a later program knows: whole, but for that.
void set_format_version(const std::filesystem::path& checkpoint, int64_t version);

}  // namespace switchyard::test
