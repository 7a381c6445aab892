#pragma once

#include <cuda_runtime.h>

#include <bit>
#include <string_view>

#include "core/cuda/launch_shape.h"
#include "core/cuda/runtime.h"
#include "core/dtype.h"

namespace switchyard::cuda {

// Without leave a block has 48 KiB of shared memory, the kernel's static variables included; with
// it, what the device has. Leave is for all of that, whatever this launch wants: other threads may
// be launching the same kernel with other sizes.
inline void allow_shared_memory(std::string_view name, const void* kernel, size_t dynamic_bytes) {
  cudaFuncAttributes own{};
  check_cuda(cudaFuncGetAttributes(&own, kernel), name, "cudaFuncGetAttributes");
  if (dynamic_bytes + own.sharedSizeBytes <= 48 << 10) return;
  int device = 0, most = 0;
  check_cuda(cudaGetDevice(&device), name, "cudaGetDevice");
  check_cuda(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), name,
             "cudaDeviceGetAttribute");
  check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  most - static_cast<int>(own.sharedSizeBytes)),
             name, "cudaFuncSetAttribute");
}

// Queues a kernel on a stream; arguments are converted to its parameters' types and copied. Throws
// Error for a shape that no GPU takes and for the runtime's errors. A block may have as much
// dynamic shared memory as the device has.
//   launch("dropout", dropout_kernel<float>, flat_launch(n, 4), stream, x, y, n);
template <class... Parameters, class... Arguments>
void launch(std::string_view name, void (*kernel)(Parameters...), const LaunchShape& shape,
            const Stream& stream, Arguments... arguments) {
  check_launch(shape, name);
  const dim3 blocks(static_cast<unsigned>(shape.x), static_cast<unsigned>(shape.y),
                    static_cast<unsigned>(shape.z));
  const dim3 threads(static_cast<unsigned>(shape.threads));
  const auto shared = static_cast<size_t>(shape.shared_bytes);
#ifdef __CUDACC__
  if (shared > 0) allow_shared_memory(name, std::bit_cast<const void*>(kernel), shared);
  kernel<<<blocks, threads, shared, native(stream)>>>(static_cast<Parameters>(arguments)...);
  check_cuda(cudaGetLastError(), name, "launch");
#else  // the tests' emulation, which runs kernels that a host compiler has compiled
  emulated::launch(
      blocks, threads, shared, native(stream),
      [=] { kernel(static_cast<Parameters>(arguments)...); }, name);
#endif
}

// Calls body.template operator()<T>() with the type of a floating dtype: with_floating(x.dtype,
// [&]<class T>() { ... }).
template <class Body>
void with_floating(DType dtype, const Body& body) {
  switch (dtype) {
    case DType::f32:
      return body.template operator()<float>();
    case DType::bf16:
      return body.template operator()<bf16>();
    case DType::f16:
      return body.template operator()<f16>();
    default:
      throw_error("kernel", std::string(name_of(dtype)) +
                                " is no floating dtype of kernels; allowed: f32, bf16, f16");
  }
}

}  // namespace switchyard::cuda
