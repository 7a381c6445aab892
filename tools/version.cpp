#include "tools/version.h"

#include <fmt/core.h>

#include <cstdint>
#include <utility>

#include "commit.h"
#include "core/ops/attention/attention.h"
#include "core/ops/cpu_identity.h"
#include "parallel/checkpoint/checkpoint.h"
#include "parallel/comm/communicators.h"

namespace switchyard {

namespace {

// 92101 with factors 10'000 and 100 is 9.21.1; 0 is none.
std::string dotted(int64_t version, int64_t major, int64_t minor) {
  if (version == 0) return "none";
  return fmt::format("{}.{}.{}", version / major, version % major / minor, version % minor);
}

}  // namespace

std::string version_text() {
  const ops::CpuIdentity cpu = ops::cpu_identity();
  constexpr bool has_cuda = sizeof(SWITCHYARD_CUDA_VERSION) > 1;  // else the text is empty
  std::string text = fmt::format("switchyard {}\n", SWITCHYARD_VERSION);
  for (const auto& [name, value] : {
           std::pair<const char*, std::string>{"commit", SWITCHYARD_COMMIT},
           {"instructions",
            fmt::format("{}; products: {}", cpu.instruction_set, cpu.product_instruction_set)},
           {"oneDNN", cpu.onednn_version},
           {"MPI", mpi_version()},
           {"HDF5", hdf5_version()},
           {"CUDA", has_cuda ? SWITCHYARD_CUDA_VERSION : "none"},
           {"cuDNN", dotted(ops::cudnn_version(), 10'000, 100)},
           {"NCCL", dotted(nccl_version(), 10'000, 100)},
       }) {
    text += fmt::format("{:<13} {}\n", name, value);
  }
  return text;
}

}  // namespace switchyard
