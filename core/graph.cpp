#include "core/graph.h"

#include "core/device_backend.h"
#include "core/error.h"

namespace switchyard {

Graph::~Graph() { clear(); }

void Graph::clear() {
  if (native_ != nullptr) cuda::destroy_graph(native_);
  native_ = nullptr;
  nodes_ = 0;
}

void Graph::record(Stream& stream, const std::function<void()>& queue) {
  check(stream.device() == Device::cuda, "graph", "a stream of '{}'; one of cuda is allowed",
        name_of(stream.device()));
  clear();
  cuda::begin_capture(stream.native());
  try {
    queue();
  } catch (...) {
    cuda::abandon_capture(stream.native());
    throw;
  }
  native_ = cuda::end_capture(stream.native(), nodes_);
}

void Graph::launch(Stream& stream) {
  check(is_recorded(), "graph", "nothing is recorded; a launch needs a recorded graph");
  cuda::launch_graph(native_, stream.native());
}

}  // namespace switchyard
