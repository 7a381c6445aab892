#pragma once

#include <cstdint>
#include <functional>

#include "core/device.h"

namespace switchyard {

// Work of a GPU's stream, recorded once and queued again and again as a whole (a CUDA graph). It
// does what it did when it was recorded, with the same addresses: what is to change must be read
// from device memory, and the memory must outlive it. Device::cuda only.
class Graph {
 public:
  Graph() = default;
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // Records what `queue` puts into the stream; nothing of it is run. It replaces what was recorded
  // before, which must not be at work any more. Whatever `queue` does with other streams must be
  // ordered behind this one and joined to it. Throws Error where the device refuses to record, as
  // for allocations and waits of the host, and passes on what `queue` throws; nothing is recorded
  // then.
  void record(Stream& stream, const std::function<void()>& queue);
  void launch(Stream& stream);  // throws Error where nothing is recorded
  bool is_recorded() const { return native_ != nullptr; }
  int64_t nodes() const { return nodes_; }  // kernels, copies and fills

 private:
  void clear();

  void* native_ = nullptr;
  int64_t nodes_ = 0;
};

}  // namespace switchyard
