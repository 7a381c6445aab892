#pragma once

#include "tests/emulated_cuda/machine.h"
#include "tests/emulated_cuda/memory_space.h"
#include "tests/emulated_cuda/report.h"

// What the files of runtime functions share.
namespace emulated {

inline cudaError_t misuse(cudaError_t status, const char* function, const std::string& what) {
  complain(function, what);
  return remember(status);
}

// Runs `body(lock, stream)` or reports the handle.
template <class Body>
cudaError_t with_stream(cudaStream_t handle, const char* function, const Body& body) {
  Lock lock = lock_machine();
  Stream* stream = Machine::get().find(handle);
  if (stream == nullptr) {
    return misuse(cudaErrorInvalidResourceHandle, function, "no such stream (destroyed?)");
  }
  return remember(body(lock, *stream));
}

template <class Body>
cudaError_t with_event(cudaEvent_t handle, const char* function, const Body& body) {
  Lock lock = lock_machine();
  auto* event = reinterpret_cast<Event*>(handle);
  if (Machine::get().events.count(event) == 0) {
    return misuse(cudaErrorInvalidResourceHandle, function, "no such event (destroyed?)");
  }
  return remember(body(lock, *event));
}

// The host may not wait for a stream that is being captured.
inline bool is_capturing(const Stream& stream) { return stream.capture != nullptr; }
bool any_capturing();
// Captures that this host thread has begun, and not as relaxed. Until they end it may ask for the
// state of no event or stream, captured or not, nor wait for one.
int& captures_of_thread();
inline cudaError_t refuse_in_capture(const char* function) {
  if (captures_of_thread() == 0) return cudaSuccess;
  return misuse(cudaErrorStreamCaptureUnsupported, function, "this thread is capturing");
}

}  // namespace emulated
