#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace switchyard {

enum class Device : uint8_t { cpu, cuda };

std::string_view name_of(Device device);     // "cpu", "cuda"
Device device_named(std::string_view name);  // throws Error for an unknown name
bool is_available(Device device);            // whether this build and machine have it

// GPUs that this process sees: 0 in a build without CUDA or on a machine without a driver.
int gpu_count();
// The GPU that this thread's streams, events and memory belong to from now on; 0 at first. Throws
// Error for an index that is not below gpu_count().
void select_gpu(int index);

struct GpuDescription {
  std::string name;
  int index = 0;
  int compute_capability = 0;  // 90 for 9.0
  int multiprocessors = 0;
  int64_t total_bytes = 0;
  int64_t free_bytes = 0;  // now
  int driver_version = 0;  // 13000 for CUDA 13.0
  int runtime_version = 0;
};
GpuDescription describe_gpu();  // the selected one

enum class Priority : uint8_t { normal, high };

// An ordered queue of work on a device. On the CPU work is done when the call returns, so a stream
// holds nothing; on a GPU it owns the driver's handle.
class Stream {
 public:
  explicit Stream(Device device = Device::cpu, Priority priority = Priority::normal);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Device device() const { return device_; }
  void* native() const { return native_; }
  void synchronize();  // the host waits for all work queued so far

 private:
  Device device_;
  void* native_ = nullptr;
};

// A point in a stream's work. On the CPU it is always reached.
class Event {
 public:
  enum class Timing : uint8_t { none, measured };
  explicit Event(Device device = Device::cpu, Timing timing = Timing::none);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(Stream& stream);  // the work queued in `stream` so far
  void wait(Stream& later);     // work queued in `later` from now on comes after it
  void synchronize();           // the host waits
  bool is_reached() const;
  void* native() const { return native_; }
  // Between two recorded and reached events made with Timing::measured.
  static double milliseconds(const Event& begin, const Event& end);

 private:
  Device device_;
  void* native_ = nullptr;
};

// Copies between any two places of host and device memory, in the stream's order. Host memory that
// is not pinned is read before the call returns.
void copy_bytes(void* to, const void* from, int64_t bytes, Stream& stream);

}  // namespace switchyard
