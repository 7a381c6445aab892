#pragma once

#include <cstdint>
#include <string_view>

namespace switchyard {

enum class Device : uint8_t { cpu, cuda };

std::string_view name_of(Device device);     // "cpu", "cuda"
Device device_named(std::string_view name);  // throws Error for an unknown name
bool is_available(Device device);            // whether this build and machine have it

// An ordered queue of work on a device. On the CPU work is done when the call returns, so a stream
// holds nothing; on a GPU `native` is the driver's handle.
class Stream {
 public:
  explicit Stream(Device device = Device::cpu, void* native = nullptr)
      : device_(device), native_(native) {}
  Device device() const { return device_; }
  void* native() const { return native_; }
  void synchronize();

 private:
  Device device_;
  void* native_;
};

}  // namespace switchyard
