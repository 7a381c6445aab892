#include "parallel/comm/communicator.h"

#include <utility>

#include "core/error.h"
#include "parallel/comm/wait_clock.h"

namespace switchyard {

namespace {
thread_local int64_t step_of_thread = 0;
}

void set_current_step(int64_t step) { step_of_thread = step; }
int64_t current_step() { return step_of_thread; }

Buffer::Buffer(const Tensor& tensor)
    : data(tensor.data), count(tensor.elements()), dtype(tensor.dtype), device(tensor.device) {
  check(tensor.is_contiguous(), "communicator",
        "a strided tensor of shape {} was given; only contiguous ones can be communicated",
        tensor.shape.to_string());
}

void Handle::wait(Stream& stream) {
  const auto work = std::exchange(work_, nullptr);
  if (!work) return;
  WaitClock* const waits = WaitClock::active();
  if (waits == nullptr) return work->wait(stream);
  waits->start(stream);
  work->wait(stream);
  waits->stop(stream);
}

ControlPlane& Communicator::control() {
  fail("communicator", "{} has no control plane; the world has", name());
}

}  // namespace switchyard
