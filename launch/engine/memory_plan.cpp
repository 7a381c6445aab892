#include "launch/engine/memory_plan.h"

#include <algorithm>
#include <numeric>

#include "launch/engine/input_ring.h"
#include "optim/distributed_optimizer.h"
#include "optim/flat_buffers.h"
#include "parallel/pipeline/executor.h"

namespace switchyard {

namespace {

constexpr int64_t mib = int64_t{1} << 20;

int64_t sum_of(const std::vector<MemoryLine>& lines) {
  return std::accumulate(lines.begin(), lines.end(), int64_t{0},
                         [](int64_t sum, const MemoryLine& line) { return sum + line.bytes; });
}

void add_parameters(MemoryPlan& plan, const EngineOptions& o, const Layout& layout,
                    const Coordinates& place, const GptStage::Options& stage) {
  const auto parameters = GptStage::stage_parameters(o.model, layout, place, stage);
  FlatBuffers::Options flat = buffer_options(o, layout, place);
  flat.gradients = false;
  const int64_t weights = FlatBuffers::bytes_needed(parameters, flat);
  plan.ours.push_back({"weights", weights});
  if (!o.training) return;
  flat.gradients = true;
  plan.ours.push_back({"gradients", FlatBuffers::bytes_needed(parameters, flat) - weights});
  const int64_t elements = weights / size_of(o.dtype);  // a multiple of dp in each bucket
  plan.ours.push_back({"optimizer", DistributedOptimizer::bytes_needed(
                                        o.dtype, elements / layout.dp, o.optimizer)});
  const int64_t averages = Averages::bytes_needed(o.averages, o.dtype, elements / layout.dp);
  plan.saved_bytes =
      DistributedOptimizer::saved_bytes(o.dtype, elements / layout.dp, o.optimizer) + averages;
  const bool on_gpu = !o.averages_on_host || o.device == Device::cpu;
  if (!on_gpu) return;
  plan.ours.push_back({"averages", averages});
}

// Deterministic attention through cuDNN keeps the scores' gradients apart, in tiles of 128, and
// where queries share keys the gradients of keys and values of each query head, as plans of
// cuDNN 9.19 for an H200 say.
int64_t attention_workspace(const EngineOptions& o, const Layout& layout) {
  const GptConfig model = o.model.completed();
  const int64_t heads = o.micro_batch * model.heads / layout.tp;
  const int64_t length = o.sequence_length, tiled = (length + 127) / 128 * 128;
  const bool shared = std::max<int64_t>(model.query_groups, layout.tp) < model.heads;
  const int64_t apart = shared ? 2 * length * model.head_dim * 2 : 0;
  return heads * (tiled * tiled * 2 + length * 4 + apart);
}

int64_t communicators(const EngineOptions& o, const Layout& layout) {
  int64_t count = 2;  // all ranks, and once more for checkpoints
  for (const int size : {layout.tp, layout.dp, layout.pp, layout.pp}) count += size > 1 ? 1 : 0;
  const int64_t groups = o.model.completed().query_groups;
  if (o.training && groups > 1 && groups < layout.tp) ++count;  // ranks that share keys and values
  return count;
}

// What libraries take, by their documents and by what others report; never measured by us.
void add_outside(MemoryPlan& plan, const EngineOptions& o, const Layout& layout) {
  plan.outside.push_back({"CUDA context and kernels", 600 * mib});
  plan.outside.push_back({"cuBLASLt workspace", 64 * mib});
  if (o.training && o.dtype != DType::f32) {
    plan.outside.push_back(
        {"deterministic attention (b h S S x 2 and more)", attention_workspace(o, layout)});
  }
  if (layout.ranks() > 1) {
    plan.outside.push_back({"NCCL's buffers", communicators(o, layout) * 128 * mib});
  }
}

}  // namespace

int64_t MemoryPlan::our_bytes() const { return sum_of(ours); }

int64_t MemoryPlan::all_bytes() const { return sum_of(ours) + sum_of(outside); }

MemoryPlan plan_memory(const EngineOptions& o, const Layout& layout, const Coordinates& place) {
  check_engine(o, layout);
  const int slots = activation_slots(o, layout, place);
  const GptStage::Options stage = stage_options(o, slots);
  MemoryPlan plan;
  add_parameters(plan, o, layout, place, stage);
  plan.ours.push_back({"activations", GptStage::activation_bytes(o.model, layout, place, stage)});
  const Shape exchanged{o.micro_batch * o.sequence_length / layout.tp, o.model.completed().hidden};
  plan.ours.push_back({"pipeline exchanges",
                       PipelineExecutor::bytes_needed(exchanged, o.dtype, slots, place.pp == 0,
                                                      place.pp + 1 == layout.pp)});
  plan.ours.push_back({"tokens", InputRing::bytes_needed({o.micro_batch, o.sequence_length},
                                                         held_microbatches(o, layout))});
  std::erase_if(plan.ours, [](const MemoryLine& line) { return line.bytes == 0; });
  add_outside(plan, o, layout);
  return plan;
}

}  // namespace switchyard
