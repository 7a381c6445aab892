#include "core/device.h"

#include <cstring>

#include "core/device_backend.h"
#include "core/error.h"
#include "core/host_waits.h"

namespace switchyard {

std::string_view name_of(Device device) { return device == Device::cpu ? "cpu" : "cuda"; }

Device device_named(std::string_view name) {
  if (name == "cpu") return Device::cpu;
  if (name == "cuda") return Device::cuda;
  fail("device", "'{}' is not a device; allowed: cpu, cuda", name);
}

bool is_available(Device device) { return device == Device::cpu || gpu_count() > 0; }

int gpu_count() {
  static const int count = cuda::count();
  return count;
}

void select_gpu(int index) {
  check(index >= 0 && index < gpu_count(), "device", "GPU {} was asked for; this process sees {}",
        index, gpu_count());
  cuda::select(index);
}

GpuDescription describe_gpu() { return cuda::describe(); }

Stream::Stream(Device device, Priority priority) : device_(device) {
  if (device == Device::cuda) native_ = cuda::make_stream(priority);
}

Stream::~Stream() {
  if (native_ != nullptr) cuda::destroy_stream(native_);
}

void Stream::synchronize() {
  if (device_ == Device::cpu) return;
  count_host_wait();
  cuda::synchronize_stream(native_);
}

Event::Event(Device device, Timing timing) : device_(device) {
  if (device == Device::cuda) native_ = cuda::make_event(timing == Timing::measured);
}

Event::~Event() {
  if (native_ != nullptr) cuda::destroy_event(native_);
}

void Event::record(Stream& stream) {
  if (device_ == Device::cuda) cuda::record_event(native_, stream.native());
}

void Event::wait(Stream& later) {
  if (device_ == Device::cuda) cuda::wait_event(later.native(), native_);
}

void Event::synchronize() {
  if (is_reached()) return;
  count_host_wait();
  cuda::synchronize_event(native_);
}

bool Event::is_reached() const { return device_ == Device::cpu || cuda::query_event(native_); }

double Event::milliseconds(const Event& begin, const Event& end) {
  return begin.device_ == Device::cpu ? 0.0 : cuda::elapsed(begin.native_, end.native_);
}

void copy_bytes(void* to, const void* from, int64_t bytes, Stream& stream) {
  if (bytes == 0) return;
  if (stream.device() == Device::cuda) {
    cuda::copy(to, from, bytes, stream.native());
  } else {
    std::memmove(to, from, static_cast<size_t>(bytes));
  }
}

}  // namespace switchyard
