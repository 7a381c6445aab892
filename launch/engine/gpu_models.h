#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace switchyard {

// GPUs that --gpu names, with the memory that their driver reports as whole.
struct GpuModel {
  const char* name;
  int64_t bytes;
};
std::vector<GpuModel> known_gpus();
std::string gpu_names();  // all of them, with commas between

// A GPU's memory by its name (in any case, with or without dashes, "rtx" and "gb"), or a size such
// as 80GiB or 80GB. Throws Error naming what is allowed.
int64_t gpu_bytes(const std::string& name_or_size);

}  // namespace switchyard
