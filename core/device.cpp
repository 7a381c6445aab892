#include "core/device.h"

#include "core/error.h"

namespace switchyard {

std::string_view name_of(Device device) { return device == Device::cpu ? "cpu" : "cuda"; }

Device device_named(std::string_view name) {
  if (name == "cpu") return Device::cpu;
  if (name == "cuda") return Device::cuda;
  fail("device", "'{}' is not a device; allowed: cpu, cuda", name);
}

bool is_available(Device device) { return device == Device::cpu; }

void Stream::synchronize() {
  check(device_ == Device::cpu, "stream", "this build has no device '{}'; allowed: cpu",
        name_of(device_));
}

}  // namespace switchyard
