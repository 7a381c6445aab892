#pragma once

#include <cstdint>
#include <filesystem>

namespace switchyard {

// Bytes of host memory that this process could still get: what the machine has available, or less
// where a control group (a Slurm job's, a container's; version 1 or 2) or `ulimit` limits it.
// `root` is where /proc and /sys are.
int64_t free_host_bytes(const std::filesystem::path& root = "/");

}  // namespace switchyard
