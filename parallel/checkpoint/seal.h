#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "parallel/checkpoint/files.h"

// Checksums of those bytes of a file that no dataset's checksum covers: HDF5's own, and what lies
// between. With them no bit of a checkpoint changes unseen.
namespace switchyard {

struct FileRange {
  int64_t begin = 0, end = 0;
};

// The xxh3-64 of all bytes outside of the ranges, which are disjoint.
uint64_t checksum_outside(const ReadableFile& file, std::vector<FileRange> ranges);

// Appends to a closed file the checksum of all its bytes, which HDF5 reads past, and brings it to
// the disk.
void seal_file(const std::filesystem::path& path);
// Throws Error naming the file unless its last bytes are the checksum of all before.
void check_seal(const std::filesystem::path& path);
// Whether its last bytes are named as that checksum, but are another one.
bool has_broken_seal(const std::filesystem::path& path);

}  // namespace switchyard
