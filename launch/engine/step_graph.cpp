#include "launch/engine/step_graph.h"

#include "core/error.h"
#include "core/logging.h"
#include "core/memory.h"
#include "core/profiler.h"

namespace switchyard {

bool StepGraph::takes_next_step() {
  return wanted_ && ++seen_ > ordinary_steps && Profiler::active() == nullptr;
}

void StepGraph::launch(int64_t step, Stream& stream, const std::function<void()>& queue) {
  if (!graph_.is_recorded() || memory_statistics().allocations != allocations_) {
    record(step, stream, queue);
  }
  graph_.launch(stream);
}

void StepGraph::record(int64_t step, Stream& stream, const std::function<void()>& queue) {
  if (graph_.is_recorded()) stream.synchronize();  // launches may still be at work
  try {
    graph_.record(stream, queue);
  } catch (const Error& problem) {
    fail("cuda graph", "step {} cannot be captured: {}; leave --cuda-graph out", step,
         problem.what());
  }
  allocations_ = memory_statistics().allocations;
  ++recordings_;
  log::info("step {} was captured as a CUDA graph of {} nodes", step, graph_.nodes());
}

}  // namespace switchyard
