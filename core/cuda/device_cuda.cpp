#include <cuda_runtime_api.h>

#include <cstring>

#include "core/cuda/runtime.h"
#include "core/device.h"
#include "core/device_backend.h"

namespace switchyard::cuda {

namespace {

constexpr std::string_view where = "device";

cudaStream_t as_stream(void* stream) { return static_cast<cudaStream_t>(stream); }
cudaEvent_t as_event(void* event) { return static_cast<cudaEvent_t>(event); }

int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  check_cuda(cudaDeviceGetAttribute(&value, which, device), where, "cudaDeviceGetAttribute");
  return value;
}

}  // namespace

// Without a driver the call fails and leaves its result unset.
int count() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) == cudaSuccess) return devices;
  cudaGetLastError();
  return 0;
}

void select(int index) { check_cuda(cudaSetDevice(index), where, "cudaSetDevice"); }

GpuDescription describe() {
  GpuDescription gpu;
  check_cuda(cudaGetDevice(&gpu.index), where, "cudaGetDevice");
  cudaDeviceProp properties{};
  check_cuda(cudaGetDeviceProperties(&properties, gpu.index), where, "cudaGetDeviceProperties");
  gpu.name = properties.name;
  gpu.compute_capability = 10 * properties.major + properties.minor;
  gpu.multiprocessors = attribute(cudaDevAttrMultiProcessorCount, gpu.index);
  size_t free_bytes = 0, total_bytes = 0;
  check_cuda(cudaMemGetInfo(&free_bytes, &total_bytes), where, "cudaMemGetInfo");
  gpu.free_bytes = static_cast<int64_t>(free_bytes);
  gpu.total_bytes = static_cast<int64_t>(total_bytes);
  check_cuda(cudaDriverGetVersion(&gpu.driver_version), where, "cudaDriverGetVersion");
  check_cuda(cudaRuntimeGetVersion(&gpu.runtime_version), where, "cudaRuntimeGetVersion");
  return gpu;
}

void* allocate(int64_t bytes) {
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, static_cast<size_t>(bytes));
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  check_cuda(status, where, "cudaMalloc");
  check_cuda(cudaMemset(memory, 0, static_cast<size_t>(bytes)), where, "cudaMemset");
  // That stream alone: work queued elsewhere may wait on the GPU for a peer that waits for us.
  check_cuda(cudaStreamSynchronize(cudaStreamLegacy), where, "cudaStreamSynchronize");
  return memory;
}

void release(void* memory) { cudaFree(memory); }

void* allocate_pinned(int64_t bytes) {
  void* memory = nullptr;
  const cudaError_t status =
      cudaHostAlloc(&memory, static_cast<size_t>(bytes), cudaHostAllocPortable);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  check_cuda(status, where, "cudaHostAlloc");
  std::memset(memory, 0, static_cast<size_t>(bytes));
  return memory;
}

void release_pinned(void* memory) { cudaFreeHost(memory); }

// Non-blocking: nothing here is ordered by the legacy default stream.
void* make_stream(Priority priority) {
  int lowest = 0, highest = 0;
  check_cuda(cudaDeviceGetStreamPriorityRange(&lowest, &highest), where,
             "cudaDeviceGetStreamPriorityRange");
  cudaStream_t stream = nullptr;
  check_cuda(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking,
                                          priority == Priority::high ? highest : lowest),
             where, "cudaStreamCreateWithPriority");
  return stream;
}

void destroy_stream(void* stream) { cudaStreamDestroy(as_stream(stream)); }

void synchronize_stream(void* stream) {
  check_cuda(cudaStreamSynchronize(as_stream(stream)), where, "cudaStreamSynchronize");
}

void* make_event(bool timed) {
  cudaEvent_t event = nullptr;
  check_cuda(cudaEventCreateWithFlags(&event, timed ? cudaEventDefault : cudaEventDisableTiming),
             where, "cudaEventCreateWithFlags");
  return event;
}

void destroy_event(void* event) { cudaEventDestroy(as_event(event)); }

void record_event(void* event, void* stream) {
  check_cuda(cudaEventRecord(as_event(event), as_stream(stream)), where, "cudaEventRecord");
}

void wait_event(void* stream, void* event) {
  check_cuda(cudaStreamWaitEvent(as_stream(stream), as_event(event), 0), where,
             "cudaStreamWaitEvent");
}

void synchronize_event(void* event) {
  check_cuda(cudaEventSynchronize(as_event(event)), where, "cudaEventSynchronize");
}

bool query_event(void* event) {
  const cudaError_t status = cudaEventQuery(as_event(event));
  if (status == cudaErrorNotReady) {
    cudaGetLastError();
    return false;
  }
  check_cuda(status, where, "cudaEventQuery");
  return true;
}

double elapsed(void* begin, void* end) {
  float milliseconds = 0;
  check_cuda(cudaEventElapsedTime(&milliseconds, as_event(begin), as_event(end)), where,
             "cudaEventElapsedTime");
  return static_cast<double>(milliseconds);
}

void begin_capture(void* stream) {
  check_cuda(cudaStreamBeginCapture(as_stream(stream), cudaStreamCaptureModeThreadLocal), where,
             "cudaStreamBeginCapture");
}

void* end_capture(void* stream, int64_t& nodes) {
  cudaGraph_t graph = nullptr;
  check_cuda(cudaStreamEndCapture(as_stream(stream), &graph), where, "cudaStreamEndCapture");
  size_t count = 0;
  cudaGraphExec_t executable = nullptr;
  cudaError_t status = cudaGraphGetNodes(graph, nullptr, &count);
  if (status == cudaSuccess) status = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  check_cuda(status, where, "cudaGraphInstantiate");
  nodes = static_cast<int64_t>(count);
  return executable;
}

// Whatever went wrong is told by whoever abandons.
void abandon_capture(void* stream) {
  cudaGraph_t graph = nullptr;
  if (cudaStreamEndCapture(as_stream(stream), &graph) == cudaSuccess) cudaGraphDestroy(graph);
  cudaGetLastError();
}

void launch_graph(void* graph, void* stream) {
  check_cuda(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), as_stream(stream)), where,
             "cudaGraphLaunch");
}

void destroy_graph(void* graph) { cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)); }

void copy(void* to, const void* from, int64_t bytes, void* stream) {
  check_cuda(
      cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, as_stream(stream)),
      where, "cudaMemcpyAsync");
}

}  // namespace switchyard::cuda
