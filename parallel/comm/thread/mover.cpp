#include "parallel/comm/thread/mover.h"

#include <cstring>

#include "parallel/comm/device_reduction.h"
#include "parallel/comm/host_reduction.h"

namespace switchyard {

namespace {

class HostMover final : public Mover {
 public:
  HostMover() : Mover(Device::cpu) {}
  void after(Stream&) override {}
  void before(Stream&) override {}
  void copy(void* to, const void* from, int64_t bytes) override {
    if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
  }
  void poison(void* to, int64_t bytes) override {
    constexpr int nan_bits = 0xff;
    if (bytes > 0) std::memset(to, nan_bits, static_cast<size_t>(bytes));
  }
  void reduce(std::span<const void* const> parts, void* out, int64_t count, DType dtype,
              ReduceOp op) override {
    reduce_on_host(parts, out, count, dtype, op);
  }
};

// The one event serves all: a wait refers to what was recorded before it, not to the event's later
// use. The mutex keeps the two together.
class DeviceMover final : public Mover {
 public:
  DeviceMover() : Mover(Device::cuda) {}
  ~DeviceMover() override {
    try {
      stream_.synchronize();           // its work reads the scratch that goes next
    } catch (const std::exception&) {  // a GPU that has failed has ended that work
    }
  }
  void after(Stream& rank) override { order(rank, stream_); }
  void before(Stream& rank) override {
    if (rank.device() == Device::cpu) return stream_.synchronize();
    order(stream_, rank);
  }
  void copy(void* to, const void* from, int64_t bytes) override {
    copy_bytes(to, from, bytes, stream_);
  }
  void poison(void* to, int64_t bytes) override { poison_on_device(to, bytes, stream_); }
  void reduce(std::span<const void* const> parts, void* out, int64_t count, DType dtype,
              ReduceOp op) override {
    reduce_on_device(parts, out, count, dtype, op, stream_);
  }

 private:
  void order(Stream& first, Stream& second) {
    const std::lock_guard lock(mutex_);
    event_.record(first);
    event_.wait(second);
  }

  std::mutex mutex_;
  Stream stream_{Device::cuda, Priority::high};
  Event event_{Device::cuda};
};

}  // namespace

std::unique_ptr<Mover> make_mover(Device device) {
  if (device == Device::cuda) return std::make_unique<DeviceMover>();
  return std::make_unique<HostMover>();
}

}  // namespace switchyard
