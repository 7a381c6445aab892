#pragma once

#include <cstdint>
#include <functional>

#include "core/graph.h"

namespace switchyard {

// Training steps as a CUDA graph: the first ones are queued as ever, so that every plan and all
// memory is there; the next is recorded, and it and all later ones are launched as a whole.
class StepGraph {
 public:
  static constexpr int64_t ordinary_steps = 2;
  explicit StepGraph(bool wanted) : wanted_(wanted) {}

  // Whether the step that comes now goes through launch(); counts steps. Not while a profiler is
  // active, whose events are not work of a step.
  bool takes_next_step();
  // Queues in the stream what `queue` would. It is called to record where nothing is recorded, or
  // where memory was allocated since (a validation's or a checkpoint's): addresses may be others.
  // Throws Error naming the step where it cannot be recorded.
  void launch(int64_t step, Stream& stream, const std::function<void()>& queue);
  int64_t recordings() const { return recordings_; }

 private:
  void record(int64_t step, Stream& stream, const std::function<void()>& queue);

  bool wanted_;
  Graph graph_;
  int64_t seen_ = 0;         // steps
  int64_t allocations_ = 0;  // when the graph was recorded
  int64_t recordings_ = 0;
};

}  // namespace switchyard
