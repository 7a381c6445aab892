#include <cuda_runtime_api.h>

#include <cstring>
#include <string>
#include <vector>

#include "tests/emulated_cuda/api.h"

namespace emulated {

size_t device_bytes();

namespace {

std::map<uintptr_t, size_t>& registered() {  // host memory that cudaHostRegister pinned
  static auto& ranges = *new std::map<uintptr_t, size_t>;
  return ranges;
}

bool is_registered(const void* address) {
  const auto value = reinterpret_cast<uintptr_t>(address);
  const auto after = registered().upper_bound(value);
  return after != registered().begin() &&
         value < std::prev(after)->first + std::prev(after)->second;
}

bool is_pageable(const void* address) {
  return !device_space().owns(address) && !pinned_space().owns(address) && !is_registered(address);
}

// What a copy's direction says about its ends; empty where that is so.
std::string check_direction(const void* to, const void* from, cudaMemcpyKind kind) {
  const bool to_device = device_space().owns(to), from_device = device_space().owns(from);
  if ((kind == cudaMemcpyHostToHost && (to_device || from_device)) ||
      (kind == cudaMemcpyHostToDevice && (!to_device || from_device)) ||
      (kind == cudaMemcpyDeviceToHost && (to_device || !from_device)) ||
      (kind == cudaMemcpyDeviceToDevice && (!to_device || !from_device))) {
    return "the direction is not that of the addresses";
  }
  return "";
}

cudaError_t check_copy(const char* function, const void* to, const void* from, size_t bytes,
                       cudaMemcpyKind kind) {
  if (const std::string wrong = check_range(to, bytes); !wrong.empty()) {
    return misuse(cudaErrorInvalidValue, function, "the destination is " + wrong);
  }
  if (const std::string wrong = check_range(from, bytes); !wrong.empty()) {
    return misuse(cudaErrorInvalidValue, function, "the source is " + wrong);
  }
  if (const std::string wrong = check_direction(to, from, kind); !wrong.empty()) {
    return misuse(cudaErrorInvalidMemcpyDirection, function, wrong);
  }
  return cudaSuccess;
}

struct Rows {
  char* to;
  size_t to_pitch;
  const char* from;
  size_t from_pitch, width, count;
};

void copy_rows(const Rows& rows) {
  for (size_t row = 0; row < rows.count; ++row) {
    std::memmove(rows.to + row * rows.to_pitch, rows.from + row * rows.from_pitch, rows.width);
  }
}

// Pageable memory is read at the call and written before it returns; pinned memory is read and
// written when the stream gets there.
cudaError_t queue_copy(Lock& lock, Stream& stream, const Rows& rows) {
  Machine& machine = Machine::get();
  const bool reads_now = is_pageable(rows.from), writes_now = is_pageable(rows.to);
  if (is_capturing(stream) && (reads_now || writes_now)) {
    complain("cudaMemcpyAsync", "pageable memory in a capture");
    return cudaErrorStreamCaptureUnsupported;
  }
  if (reads_now) {
    auto copy = std::make_shared<std::vector<char>>(rows.width * rows.count);
    copy_rows({copy->data(), rows.width, rows.from, rows.from_pitch, rows.width, rows.count});
    machine.enqueue(stream, [rows, copy] {
      copy_rows({rows.to, rows.to_pitch, copy->data(), rows.width, rows.width, rows.count});
      return true;
    });
  } else {
    machine.enqueue(stream, [rows] {
      copy_rows(rows);
      return true;
    });
  }
  if (writes_now) machine.run_all(lock, stream);
  return cudaSuccess;
}

cudaError_t queue_copy(const char* function, const Rows& rows, cudaMemcpyKind kind,
                       cudaStream_t handle) {
  return with_stream(handle, function, [&](Lock& lock, Stream& stream) {
    if (rows.width == 0 || rows.count == 0) return cudaSuccess;
    const size_t before = rows.count - 1;
    const cudaError_t from = check_copy(function, rows.to, rows.from, rows.width, kind);
    if (from != cudaSuccess) return from;
    const cudaError_t last =
        check_copy(function, rows.to, rows.from, 0, kind) == cudaSuccess &&
                check_range(rows.to, before * rows.to_pitch + rows.width).empty() &&
                check_range(rows.from, before * rows.from_pitch + rows.width).empty()
            ? cudaSuccess
            : misuse(cudaErrorInvalidValue, function, "rows that pass the end of an allocation");
    return last != cudaSuccess ? last : queue_copy(lock, stream, rows);
  });
}

Rows flat(void* to, const void* from, size_t bytes) {
  return {static_cast<char*>(to), bytes, static_cast<const char*>(from), bytes, bytes, 1};
}

cudaError_t queue_fill(const char* function, void* memory, int value, size_t bytes,
                       cudaStream_t handle) {
  return with_stream(handle, function, [&](Lock&, Stream& stream) {
    if (bytes == 0) return cudaSuccess;
    if (is_pageable(memory)) {
      return misuse(cudaErrorInvalidValue, function, "pageable host memory");
    }
    if (const std::string wrong = check_range(memory, bytes); !wrong.empty()) {
      return misuse(cudaErrorInvalidValue, function, wrong);
    }
    Machine::get().enqueue(stream, [=] {
      device_space().fill(memory, value, bytes);
      return true;
    });
    return cudaSuccess;
  });
}

// The host may wait for nothing while a capture goes on, nor take memory.
cudaError_t refuse_capture(const char* function) {
  if (!any_capturing()) return cudaSuccess;
  return misuse(cudaErrorStreamCaptureUnsupported, function, "a stream is capturing");
}

}  // namespace

bool any_capturing() {
  for (const Stream* stream : Machine::get().streams()) {
    if (is_capturing(*stream)) return true;
  }
  return false;
}

}  // namespace emulated

using namespace emulated;

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  const Lock lock = lock_machine();
  *memory = nullptr;
  if (const cudaError_t status = refuse_capture("cudaMalloc")) return status;
  if (bytes == 0) return cudaSuccess;
  MemorySpace& space = device_space();
  if (space.held(current_device()) + bytes <= device_bytes()) {
    *memory = space.allocate(bytes, current_device());
  }
  return remember(*memory == nullptr ? cudaErrorMemoryAllocation : cudaSuccess);
}

cudaError_t cudaFree(void* memory) {
  Lock lock = lock_machine();
  if (memory == nullptr) return cudaSuccess;
  if (const cudaError_t status = refuse_capture("cudaFree")) return status;
  const Allocation* allocation = device_space().find(memory);
  if (allocation == nullptr) {
    return misuse(cudaErrorInvalidValue, "cudaFree", device_space().describe(memory));
  }
  Machine::get().run_all(lock, allocation->device);
  if (device_space().release(memory)) return cudaSuccess;
  return misuse(cudaErrorInvalidValue, "cudaFree", device_space().describe(memory));
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  const Lock lock = lock_machine();
  *total_bytes = device_bytes();
  const size_t held = device_space().held(current_device());
  *free_bytes = held < *total_bytes ? *total_bytes - held : 0;
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) {
  const Lock lock = lock_machine();
  if (const cudaError_t status = refuse_capture("cudaHostAlloc")) return status;
  *memory = bytes == 0 ? nullptr : pinned_space().allocate(bytes, 0);
  return remember(bytes > 0 && *memory == nullptr ? cudaErrorMemoryAllocation : cudaSuccess);
}

cudaError_t cudaMallocHost(void** memory, size_t bytes) { return cudaHostAlloc(memory, bytes, 0); }

cudaError_t cudaFreeHost(void* memory) {
  Lock lock = lock_machine();
  if (memory == nullptr) return cudaSuccess;
  for (int device = 0; device < device_count(); ++device) Machine::get().run_all(lock, device);
  if (pinned_space().release(memory)) return cudaSuccess;
  return misuse(cudaErrorInvalidValue, "cudaFreeHost", pinned_space().describe(memory));
}

cudaError_t cudaHostRegister(void* memory, size_t bytes, unsigned) {
  const Lock lock = lock_machine();
  if (is_registered(memory)) return remember(cudaErrorHostMemoryAlreadyRegistered);
  registered()[reinterpret_cast<uintptr_t>(memory)] = bytes;
  return cudaSuccess;
}

cudaError_t cudaHostUnregister(void* memory) {
  Lock lock = lock_machine();
  for (int device = 0; device < device_count(); ++device) Machine::get().run_all(lock, device);
  const bool known = registered().erase(reinterpret_cast<uintptr_t>(memory)) > 0;
  return known ? cudaSuccess
               : misuse(cudaErrorInvalidValue, "cudaHostUnregister", "not registered");
}

cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned) {
  *device = host;
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  const Lock lock = lock_machine();
  *attributes = {};
  attributes->type = cudaMemoryTypeUnregistered;
  attributes->device = -1;
  if (const Allocation* allocation = device_space().find(address)) {
    attributes->type = cudaMemoryTypeDevice;
    attributes->device = allocation->device;
    attributes->devicePointer = const_cast<void*>(address);
  } else if (!is_pageable(address)) {
    attributes->type = cudaMemoryTypeHost;
    attributes->device = 0;
    attributes->devicePointer = attributes->hostPointer = const_cast<void*>(address);
  }
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return queue_copy("cudaMemcpyAsync", flat(to, from, bytes), kind, stream);
}

cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t bytes,
                                cudaStream_t stream) {
  return queue_copy("cudaMemcpyPeerAsync", flat(to, from, bytes), cudaMemcpyDeviceToDevice, stream);
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch,
                              size_t width, size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream) {
  if (width > to_pitch || width > from_pitch) {
    return misuse(cudaErrorInvalidValue, "cudaMemcpy2DAsync", "rows longer than their pitch");
  }
  return queue_copy(
      "cudaMemcpy2DAsync",
      {static_cast<char*>(to), to_pitch, static_cast<const char*>(from), from_pitch, width, height},
      kind, stream);
}

// Ordered with the legacy default stream, which streams made as non-blocking are not.
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const cudaError_t status = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
  if (status != cudaSuccess) return status;
  Lock lock = lock_machine();
  Machine::get().run_legacy(lock, current_device());
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  return queue_fill("cudaMemsetAsync", memory, value, bytes, stream);
}

cudaError_t cudaMemset(void* memory, int value, size_t bytes) {
  return queue_fill("cudaMemset", memory, value, bytes, nullptr);
}
