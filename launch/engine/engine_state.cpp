#include "core/error.h"
#include "core/ops/elementwise.h"
#include "launch/engine/engine.h"

// What goes into checkpoints and comes out of them.
namespace switchyard {

// Checkpoints copy on streams of their own: what is queued here must be done.
std::vector<ShardedTensor> Engine::state_to_save() {
  sync_->wait_for_weights();
  stream_.synchronize();
  return optimizer_->state().tensors(StateUse::save);
}

std::vector<int32_t> Engine::load_training_state(
    const CheckpointReader& reader, const std::function<void(int64_t bytes)>& progress) {
  stream_.synchronize();
  return optimizer_->state().load(reader, progress);
}

void Engine::gather_after_load() {
  optimizer_->weights_from_master();
  sync_->gather_weights();
}

void Engine::load_weights(const CheckpointReader& reader, std::string_view group) {
  for (auto& p : stage_.parameters()) {
    if (p.box.empty()) continue;
    const std::string name = tensor_name(group, p.name);
    const auto* stored = reader.find(name);
    check(stored != nullptr, "checkpoint", "step {} has no tensor '{}'", reader.info().step, name);
    check(stored->shape == p.global, "checkpoint", "'{}' is stored as {}; the model needs {}", name,
          stored->shape.to_string(), p.global.to_string());
    load_weight(reader, *stored, p);
  }
}

// Through host memory, where another precision is rounded.
void Engine::load_weight(const CheckpointReader& reader, const StoredTensor& stored,
                         const Parameter& p) {
  const Tensor weight(p.weight.data, p.weight.dtype, p.box.extent, options_.device);
  const bool direct = stored.dtype == weight.dtype;
  if (direct && options_.device == Device::cpu) {
    reader.read(stored.name, p.box, weight.data);
    return;
  }
  Stream host;
  Scratch scratch;
  Scratch::Scope scope(scratch);
  Tensor loaded = scope.allocate(p.box.extent, stored.dtype);
  reader.read(stored.name, p.box, loaded.data);
  if (!direct) {
    const Tensor rounded = scope.allocate(p.box.extent, weight.dtype);
    ops::cast({host, scratch}, loaded, rounded);
    loaded = rounded;
  }
  copy_bytes(weight.data, loaded.data, loaded.bytes(), stream_);
  stream_.synchronize();
}

}  // namespace switchyard
