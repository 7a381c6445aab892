#include "launch/engine/model_runner.h"

#include <utility>

#include "parallel/pipeline/schedule.h"

namespace switchyard {

ModelRunner::ModelRunner(const EngineOptions& options, const Mesh& mesh)
    : options_(options),
      mesh_(mesh),
      stream_(options.device),
      scratch_(options.device),
      slots_(activation_slots(options, mesh.layout, mesh.place)),
      stage_(options.model, mesh, stage_options(options, slots_), {stream_, scratch_}),
      buffers_(stage_.parameters(), buffer_options(options, mesh.layout, mesh.place)),
      executor_(mesh, stage_.exchanged(), options.dtype, slots_, stream_),
      inputs_({options.micro_batch, options.sequence_length},
              held_microbatches(options, mesh.layout), options.device) {}

// The first stage embeds tokens, the last one is held against targets; those between need neither.
std::span<TokenBatch> ModelRunner::read(Share share, int64_t samples, const ReadSample& read) {
  const auto batches = inputs_.next(share.end - share.begin);
  if (!mesh_.first_stage() && !mesh_.last_stage()) samples = 0;  // padding
  int64_t first = share.begin * options_.micro_batch;
  for (TokenBatch& batch : batches) {
    batch.first_sample = first;
    read_microbatch(batch, samples, options_.model.vocabulary, read);
    first += options_.micro_batch;
  }
  return batches;
}

void ModelRunner::forward(std::span<const TokenBatch> batches) {
  stage_.begin_evaluation(batches);
  const int count = static_cast<int>(batches.size());
  executor_.run(schedule_forward_only(mesh_.layout.pp, count, mesh_.place.pp), stage_);
}

void ModelRunner::forward_backward(std::span<const TokenBatch> batches, StepInputs inputs) {
  stage_.begin(batches, std::move(inputs));
  const int count = static_cast<int>(batches.size());
  executor_.run(schedule_1f1b(mesh_.layout.pp, count, mesh_.place.pp), stage_);
}

}  // namespace switchyard
