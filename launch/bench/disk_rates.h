#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace switchyard {

// What a disk gives to files that are written and read with nothing around them.
enum class DiskWay : uint8_t {
  cached,  // 64 MiB after the other through the system's cache, as `dd bs=64M conv=fsync`
  direct,  // 8 MiB past it, by several threads, with room taken first
};

// A new file of `bytes`, from the `data` over and over; fsync is the last.
void write_raw(const std::filesystem::path& file, std::span<const std::byte> data, int64_t bytes,
               DiskWay way);
void read_raw(const std::filesystem::path& file, DiskWay way);
// The same to where a loader has to bring it: each byte to a place of its own in `to`, which has
// room for the whole file.
void read_raw(const std::filesystem::path& file, DiskWay way, std::span<std::byte> to);
// Out of the system's cache. What is not on the disk yet stays.
void evict(const std::filesystem::path& file);

}  // namespace switchyard
