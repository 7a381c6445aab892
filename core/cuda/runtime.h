#pragma once

#include <cuda_runtime_api.h>

#include <string>
#include <string_view>

#include "core/device.h"
#include "core/error.h"

// What code that speaks to the CUDA runtime shares; included below core/ and parallel/ alone.
namespace switchyard::cuda {

// Throws Error naming the call and the runtime's own words.
inline void check_cuda(cudaError_t status, std::string_view where, std::string_view call) {
  if (status == cudaSuccess) return;
  throw_error(where, std::string(call) + ": " + cudaGetErrorString(status) + " (" +
                         cudaGetErrorName(status) + ")");
}

// Of the selected GPU.
inline int64_t multiprocessors() {
  int device = 0, count = 0;
  check_cuda(cudaGetDevice(&device), "device", "cudaGetDevice");
  check_cuda(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device), "device",
             "cudaDeviceGetAttribute");
  return count;
}

inline cudaStream_t native(const Stream& stream) {
  return static_cast<cudaStream_t>(stream.native());
}

inline cudaEvent_t native(const Event& event) { return static_cast<cudaEvent_t>(event.native()); }

}  // namespace switchyard::cuda
