#include <cuda_runtime_api.h>

#include <thread>

#include "tests/emulated_cuda/api.h"

using namespace emulated;

namespace {

cudaStream_t handle_of(Stream* stream) { return reinterpret_cast<cudaStream_t>(stream); }

cudaError_t refuse_waiting(const char* function, const Stream& stream) {
  if (!is_capturing(stream)) return cudaSuccess;
  return misuse(cudaErrorStreamCaptureUnsupported, function, "the stream is capturing");
}

// For polls: another thread may be running work for long, and a poll never waits.
template <class Body>
cudaError_t poll(const Body& body) {
  Lock lock(Machine::get().mutex(), std::try_to_lock);
  if (!lock.owns_lock()) {
    std::this_thread::yield();
    return remember(cudaErrorNotReady);
  }
  return remember(body());
}

}  // namespace

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  const Lock lock = lock_machine();
  *stream = handle_of(Machine::get().make_stream((flags & cudaStreamNonBlocking) == 0, priority));
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return cudaStreamCreateWithPriority(stream, flags, 0);
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithPriority(stream, cudaStreamDefault, 0);
}

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  if (handle == nullptr) return misuse(cudaErrorInvalidResourceHandle, "cudaStreamDestroy", "null");
  return with_stream(handle, "cudaStreamDestroy", [](Lock& lock, Stream& stream) {
    if (const cudaError_t status = refuse_waiting("cudaStreamDestroy", stream)) return status;
    Machine::get().run_all(lock, stream);
    Machine::get().destroy(&stream);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  if (const cudaError_t status = refuse_in_capture("cudaStreamSynchronize")) return status;
  return with_stream(handle, "cudaStreamSynchronize", [](Lock& lock, Stream& stream) {
    if (const cudaError_t status = refuse_waiting("cudaStreamSynchronize", stream)) return status;
    Machine::get().run_all(lock, stream);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  if (const cudaError_t status = refuse_in_capture("cudaStreamQuery")) return status;
  return poll([&] {
    Stream* stream = Machine::get().find(handle);
    if (stream == nullptr) {
      return misuse(cudaErrorInvalidResourceHandle, "cudaStreamQuery", "no such stream");
    }
    if (const cudaError_t status = refuse_waiting("cudaStreamQuery", *stream)) return status;
    if (!stream->items.empty()) {
      auto all = std::make_shared<Mark>();
      all->stream = stream;
      Machine::get().step_towards(all);
    }
    return stream->items.empty() ? cudaSuccess : cudaErrorNotReady;
  });
}

cudaError_t cudaStreamGetPriority(cudaStream_t handle, int* priority) {
  return with_stream(handle, "cudaStreamGetPriority", [&](Lock&, Stream& stream) {
    *priority = stream.priority;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamGetDevice(cudaStream_t handle, int* device) {
  return with_stream(handle, "cudaStreamGetDevice", [&](Lock&, Stream& stream) {
    *device = stream.device;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSynchronize() {
  Lock lock = lock_machine();
  if (any_capturing()) {
    return misuse(cudaErrorStreamCaptureUnsupported, "cudaDeviceSynchronize",
                  "a stream is capturing");
  }
  Machine::get().run_all(lock, current_device());
  return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void* data) {
  return with_stream(handle, "cudaLaunchHostFunc", [=](Lock&, Stream& stream) {
    Machine::get().enqueue(stream, [=] {
      function(data);
      return true;
    });
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  const Lock lock = lock_machine();
  auto* made = new Event;
  made->timed = (flags & cudaEventDisableTiming) == 0;
  Machine::get().events.insert(made);
  *event = reinterpret_cast<cudaEvent_t>(made);
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t handle) {
  return with_event(handle, "cudaEventDestroy", [](Lock&, Event& event) {
    Machine::get().events.erase(&event);
    delete &event;
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t on) {
  return with_event(handle, "cudaEventRecord", [&](Lock&, Event& event) {
    return with_stream(on, "cudaEventRecord", [&](Lock&, Stream& stream) {
      event.last = Machine::get().enqueue_mark(stream);
      return cudaSuccess;
    });
  });
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
  return cudaEventRecord(event, stream);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t later, cudaEvent_t handle, unsigned) {
  return with_event(handle, "cudaStreamWaitEvent", [&](Lock&, Event& event) {
    return with_stream(later, "cudaStreamWaitEvent", [&](Lock&, Stream& stream) {
      return event.last == nullptr ? cudaSuccess : Machine::get().enqueue_wait(stream, event.last);
    });
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  if (const cudaError_t status = refuse_in_capture("cudaEventSynchronize")) return status;
  return with_event(handle, "cudaEventSynchronize", [](Lock& lock, Event& event) {
    if (event.last == nullptr) return cudaSuccess;
    if (event.last->capture != nullptr) return cudaErrorStreamCaptureUnsupported;
    const std::shared_ptr<Mark> mark = event.last;
    Machine::get().run_until(lock, mark);
    return cudaSuccess;
  });
}

cudaError_t cudaEventQuery(cudaEvent_t handle) {
  if (const cudaError_t status = refuse_in_capture("cudaEventQuery")) return status;
  return poll([&] {
    auto* event = reinterpret_cast<Event*>(handle);
    if (Machine::get().events.count(event) == 0) {
      return misuse(cudaErrorInvalidResourceHandle, "cudaEventQuery", "no such event");
    }
    if (event->last == nullptr) return cudaSuccess;
    if (event->last->capture != nullptr) return cudaErrorStreamCaptureUnsupported;
    Machine::get().step_towards(event->last);
    return event->last->reached ? cudaSuccess : cudaErrorNotReady;
  });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  return with_event(from, "cudaEventElapsedTime", [&](Lock&, Event& begin) {
    return with_event(to, "cudaEventElapsedTime", [&](Lock&, Event& end) {
      if (!begin.timed || !end.timed || begin.last == nullptr || end.last == nullptr) {
        return cudaErrorInvalidResourceHandle;
      }
      if (!begin.last->reached || !end.last->reached) return cudaErrorNotReady;
      const std::chrono::duration<float, std::milli> elapsed = end.last->time - begin.last->time;
      *milliseconds = elapsed.count();
      return cudaSuccess;
    });
  });
}
