// Preloaded into the tests of plans: the two functions of the CUDA runtime by which cuDNN's
// front-end asks what the device is, answered for a Hopper.
#include <cuda_runtime.h>

#include <cstring>

extern "C" cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

extern "C" cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::memset(properties, 0, sizeof *properties);
  properties->major = 9;
  properties->multiProcessorCount = 132;
  return cudaSuccess;
}
