#pragma once

#include <vector>

#include "core/device.h"
#include "core/tensor.h"

namespace switchyard::test {

// The elements of a contiguous tensor as the host sees them: itself on the CPU, else a copy.
class HostElements {
 public:
  HostElements(const Tensor& tensor, Stream& stream)
      : original_(tensor), view_(tensor), stream_(stream) {
    if (tensor.device == Device::cpu) return;
    copy_.resize(static_cast<size_t>(tensor.bytes()));
    view_.data = copy_.data();
    view_.device = Device::cpu;
    transfer(copy_.data(), tensor.data);
  }
  const Tensor& view() const { return view_; }
  // After changes of the view.
  void put_back() const {
    if (original_.device != Device::cpu) transfer(original_.data, copy_.data());
  }

 private:
  void transfer(void* to, const void* from) const {
    copy_bytes(to, from, original_.bytes(), stream_);
    stream_.synchronize();
  }

  Tensor original_, view_;
  Stream& stream_;
  std::vector<std::byte> copy_;
};

inline std::vector<Device> devices() {
  if (is_available(Device::cuda)) return {Device::cpu, Device::cuda};
  return {Device::cpu};
}

}  // namespace switchyard::test
