#include "launch/engine/engine_options.h"

#include <algorithm>

#include "core/error.h"

namespace switchyard {

namespace {

// Tokens of a microbatch; far above what memory holds, and no size of a buffer overflows.
constexpr int64_t most_rows = int64_t{1} << 31;

void check_graph(const EngineOptions& o, const Layout& layout) {
  if (!o.cuda_graph) return;
  check(o.device == Device::cuda, "layout", "--cuda-graph on '{}'; it is allowed on cuda",
        name_of(o.device));
  const int ranks = layout.tp * layout.pp * layout.dp;
  check(ranks == 1, "layout", "--cuda-graph with {} ranks; 1 is allowed", ranks);
}

}  // namespace

Share share_of(int64_t count, int parts, int part) {
  const int64_t each = count / parts;
  const int64_t odd = count % parts;
  const int64_t begin = part * each + std::min<int64_t>(part, odd);
  return {begin, begin + each + (part < odd ? 1 : 0)};
}

int activation_slots(const EngineOptions& o, const Layout& layout, const Coordinates& place) {
  if (!o.training) return 1;
  const int64_t most = share_of(o.global_batch / o.micro_batch, layout.dp, 0).end;
  return static_cast<int>(std::min<int64_t>(most, layout.pp - place.pp));
}

int64_t held_microbatches(const EngineOptions& o, const Layout& layout) {
  const int64_t training =
      o.training ? share_of(o.global_batch / o.micro_batch, layout.dp, 0).end : 0;
  return std::max(training, evaluation_run);
}

GptStage::Options stage_options(const EngineOptions& o, int slots) {
  GptStage::Options options;
  options.dtype = o.dtype;
  options.micro_batch = o.micro_batch;
  options.sequence_length = o.sequence_length;
  options.layers_of_stages = o.pipeline_layers;
  options.slots = slots;
  options.training = o.training;
  options.seed = o.seed;
  options.device = o.device;
  options.head_chunk = o.head_chunk;
  options.deterministic = o.deterministic;
  options.exchange_chunks = o.exchange_chunks;
  return options;
}

FlatBuffers::Options buffer_options(const EngineOptions& o, const Layout& layout,
                                    const Coordinates& place) {
  FlatBuffers::Options options;
  options.dp = layout.dp;
  options.dp_rank = place.dp;
  options.dtype = o.dtype;
  options.gradients = o.training;
  options.device = o.device;
  return options;
}

void check_engine(const EngineOptions& o, const Layout& layout) {
  check(o.micro_batch >= 1, "layout", "--micro-batch-size {}; at least 1 is allowed",
        o.micro_batch);
  check(o.micro_batch <= most_rows / o.sequence_length, "layout",
        "--micro-batch-size {} of {} tokens each; at most {} tokens together are allowed",
        o.micro_batch, o.sequence_length, most_rows);
  check(o.dtype != DType::f16 || o.device == Device::cuda, "layout",
        "fp16 on '{}'; it is allowed on cuda (on the CPU: fp32 and --bf16)", name_of(o.device));
  GptStage::check_layout(o.model, layout, stage_options(o, 1));
  if (!o.training) return;
  check_graph(o, layout);
  check(o.global_batch % o.micro_batch == 0, "layout",
        "--global-batch-size {} with --micro-batch-size {}; a multiple of it is allowed",
        o.global_batch, o.micro_batch);
  check(o.global_batch / o.micro_batch >= layout.dp, "layout",
        "{} data-parallel ranks for {} microbatches ({} samples by {}); at most one rank for each "
        "is allowed",
        layout.dp, o.global_batch / o.micro_batch, o.global_batch, o.micro_batch);
}

}  // namespace switchyard
