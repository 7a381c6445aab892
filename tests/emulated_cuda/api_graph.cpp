#include <cuda_runtime_api.h>

#include <algorithm>

#include "tests/emulated_cuda/api.h"

namespace emulated {

namespace {

// A graph is the list of what was captured, in the order of issue, which all streams' orders and
// waits agree with; launching it queues the whole list on one stream.
struct Graph {
  std::vector<Work> work;
};

std::set<Graph*>& graphs() {
  static auto& all = *new std::set<Graph*>;
  return all;
}

Graph* known(void* handle) {
  auto* graph = static_cast<Graph*>(handle);
  return graphs().count(graph) > 0 ? graph : nullptr;
}

Graph* keep(Graph graph) { return *graphs().insert(new Graph(std::move(graph))).first; }

cudaError_t destroy(void* handle, const char* function) {
  const Lock lock = lock_machine();
  Graph* graph = known(handle);
  if (graph == nullptr) return misuse(cudaErrorInvalidValue, function, "no such graph");
  graphs().erase(graph);
  delete graph;
  return cudaSuccess;
}

void end(Capture& capture) {
  capture.ended = true;
  if (!capture.relaxed) --captures_of_thread();
  for (auto& [joined, progress] : capture.streams) joined->capture = nullptr;
}

// Whether the origin has waited for the last work of every stream that joined.
bool is_joined(const Capture& capture) {
  const Progress& origin = capture.streams.at(capture.origin);
  return std::all_of(capture.streams.begin(), capture.streams.end(), [&](const auto& joined) {
    const auto own = joined.second.find(joined.first);
    if (joined.first == capture.origin || own == joined.second.end()) return true;
    const auto seen = origin.find(joined.first);
    return seen != origin.end() && seen->second >= own->second;
  });
}

}  // namespace

int& captures_of_thread() {
  static thread_local int captures = 0;
  return captures;
}

}  // namespace emulated

using namespace emulated;

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  return with_stream(handle, "cudaStreamBeginCapture", [mode](Lock&, Stream& stream) {
    if (stream.legacy || is_capturing(stream)) return cudaErrorStreamCaptureUnsupported;
    stream.capture = std::make_shared<Capture>();
    stream.capture->origin = &stream;
    stream.capture->thread = std::this_thread::get_id();
    stream.capture->relaxed = mode == cudaStreamCaptureModeRelaxed;
    if (!stream.capture->relaxed) ++captures_of_thread();
    stream.capture->streams[&stream];
    return cudaSuccess;
  });
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  *graph = nullptr;
  return with_stream(handle, "cudaStreamEndCapture", [&](Lock&, Stream& stream) {
    const std::shared_ptr<Capture> capture = stream.capture;
    if (capture == nullptr) return cudaErrorIllegalState;
    if (capture->origin != &stream) return cudaErrorStreamCaptureUnmatched;
    if (!capture->relaxed && capture->thread != std::this_thread::get_id())
      return cudaErrorStreamCaptureWrongThread;
    end(*capture);
    if (!is_joined(*capture)) {
      return misuse(cudaErrorStreamCaptureUnjoined, "cudaStreamEndCapture",
                    "a stream that joined the capture has work that its origin never waits for");
    }
    *graph = reinterpret_cast<cudaGraph_t>(keep({capture->work}));
    return cudaSuccess;
  });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  return with_stream(handle, "cudaStreamIsCapturing", [&](Lock&, Stream& stream) {
    *status = is_capturing(stream) ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return cudaSuccess;
  });
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  static thread_local cudaStreamCaptureMode current = cudaStreamCaptureModeGlobal;
  std::swap(*mode, current);
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t handle, cudaGraphNode_t* nodes, size_t* count) {
  const Lock lock = lock_machine();
  const Graph* graph = known(handle);
  if (graph == nullptr || nodes != nullptr) {
    return misuse(cudaErrorInvalidValue, "cudaGraphGetNodes", "only counts nodes of a graph");
  }
  *count = graph->work.size();
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t handle,
                                 unsigned long long) {
  const Lock lock = lock_machine();
  const Graph* graph = known(handle);
  if (graph == nullptr) {
    return misuse(cudaErrorInvalidValue, "cudaGraphInstantiate", "no such graph");
  }
  *executable = reinterpret_cast<cudaGraphExec_t>(keep(*graph));
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph,
                                          unsigned long long flags) {
  return cudaGraphInstantiate(executable, graph, flags);
}

cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return cudaSuccess; }

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t handle) {
  return with_stream(handle, "cudaGraphLaunch", [&](Lock&, Stream& stream) {
    const Graph* graph = known(executable);
    if (graph == nullptr) return misuse(cudaErrorInvalidValue, "cudaGraphLaunch", "no such graph");
    Machine::get().enqueue(stream, [work = graph->work, next = size_t{0}]() mutable {
      while (next < work.size() && work[next]()) ++next;
      return next == work.size();
    });
    return cudaSuccess;
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return destroy(graph, "cudaGraphDestroy"); }

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  return destroy(graph, "cudaGraphExecDestroy");
}
