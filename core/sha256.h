#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace switchyard {

// SHA-256 of a file's contents, in 64 hexadecimal digits of lower case. `progress` hears of bytes
// that were read. Throws Error of storage for a file that cannot be read.
std::string sha256_of_file(const std::filesystem::path& file,
                           const std::function<void(int64_t bytes)>& progress = {});

}  // namespace switchyard
