#include "optim/saved_state.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/logging.h"

namespace switchyard {

SavedState::SavedState(std::vector<StateSource> sources, const FlatBuffers& buffers,
                       const Mesh& mesh, ops::Context context, Arena& arena)
    : buffers_(buffers),
      mesh_(mesh),
      context_(context),
      runs_(shard_runs(buffers, mesh.place)),
      saves_(saved_parameters(buffers, mesh.place, mesh.layout.tp)) {
  for (StateSource& source : sources) {
    Tensor tensor;
    switch (source.extent) {
      case StateExtent::weights:
        tensor = buffers.weights();
        break;
      case StateExtent::shard:
        tensor = arena.allocate({buffers.shard_elements()}, DType::f32, source.group);
        break;
      case StateExtent::alike:
        tensor = arena.allocate({source.elements}, source.dtype, source.group);
        break;
    }
    if (source.group == groups::master) master_ = tensor;
    held_.push_back({std::move(source), tensor});
  }
}

int64_t SavedState::bytes_needed(std::span<const StateSource> sources, int64_t shard_elements) {
  int64_t bytes = 0;
  for (const StateSource& source : sources) {
    if (source.extent == StateExtent::shard)
      bytes += Arena::footprint({shard_elements}, DType::f32);
    if (source.extent == StateExtent::alike) {
      bytes += Arena::footprint({source.elements}, source.dtype);
    }
  }
  return bytes;
}

const Tensor& SavedState::tensor(std::string_view group) const {
  const auto held = std::ranges::find(held_, group, [](const Held& h) { return h.source.group; });
  check(held != held_.end(), "SavedState", "no source of the group '{}'", group);
  return held->tensor;
}

Tensor SavedState::master(const ShardRun& run) const {
  return has_own_master() ? run.in_shard(master_) : weights(run);
}

void SavedState::start(const Held& held, int64_t step) const {
  if (held.source.start) held.source.start(*this, held.tensor, step);
}

void SavedState::start() {
  for (const Held& held : held_) start(held, 0);
}

void SavedState::updated(const Tensor& scalars) {
  for (const Held& held : held_) {
    if (held.source.updated) held.source.updated(*this, held.tensor, scalars);
  }
}

ShardedTensor SavedState::of_parameter(const Held& held, int parameter, StateUse use) const {
  const Parameter& p = buffers_.parameters()[static_cast<size_t>(parameter)];
  std::vector<Piece> pieces;
  if (use == StateUse::load || saves_[static_cast<size_t>(parameter)]) {
    pieces = held.source.extent == StateExtent::weights
                 ? buffers_.flat_pieces(parameter, held.tensor)
                 : buffers_.shard_pieces(parameter, held.tensor);
  }
  std::vector<std::string> aliases;
  for (const auto& group : held.source.aliases) aliases.push_back(tensor_name(group, p.name));
  return {.name = tensor_name(held.source.group, p.name),
          .global = p.global,
          .dtype = held.tensor.dtype,
          .pieces = std::move(pieces),
          .aliases = std::move(aliases),
          .device = held.tensor.device};
}

ShardedTensor SavedState::of_all(const Held& held, StateUse use) const {
  std::vector<Piece> pieces;
  if (use == StateUse::load || mesh_.world->rank() == 0) {
    pieces.push_back({.box = Box::whole(held.tensor.shape), .data = held.tensor.data});
  }
  return {.name = tensor_name(held.source.group),
          .global = held.tensor.shape,
          .dtype = held.tensor.dtype,
          .pieces = std::move(pieces),
          .aliases = {},
          .device = held.tensor.device};
}

// What belongs to a weight lies together in a shard's file.
std::vector<ShardedTensor> SavedState::list(StateUse use, const Chosen& chosen) const {
  std::vector<ShardedTensor> tensors;
  for (size_t i = 0; i < buffers_.parameters().size(); ++i) {
    for (const Held& held : held_) {
      if (held.source.extent == StateExtent::alike || !chosen(held)) continue;
      tensors.push_back(of_parameter(held, static_cast<int>(i), use));
    }
  }
  for (const Held& held : held_) {
    if (held.source.extent == StateExtent::alike && chosen(held)) {
      tensors.push_back(of_all(held, use));
    }
  }
  return tensors;
}

std::vector<ShardedTensor> SavedState::shard_tensors(std::string_view group, const Tensor& shard,
                                                     StateUse use) const {
  const Held held{{.group = std::string(group)}, shard};
  std::vector<ShardedTensor> tensors;
  for (size_t i = 0; i < buffers_.parameters().size(); ++i) {
    tensors.push_back(of_parameter(held, static_cast<int>(i), use));
  }
  return tensors;
}

std::vector<ShardedTensor> SavedState::tensors(StateUse use) const {
  return list(use, [](const Held&) { return true; });
}

namespace {

bool is_weights(const StateSource& source) {
  return source.extent == StateExtent::weights || source.group == groups::master;
}

}  // namespace

std::vector<int32_t> SavedState::load(const CheckpointReader& reader,
                                      const std::function<void(int64_t bytes)>& progress) {
  return load_chosen(reader, progress, [](const Held&) { return true; });
}

// Own weights follow from the master (DistributedOptimizer::weights_from_master).
std::vector<int32_t> SavedState::load_mean(const CheckpointReader& reader,
                                           const std::function<void(int64_t bytes)>& progress) {
  const std::string_view group = has_own_master() ? groups::master : groups::model;
  auto tensors = list(StateUse::load, [&](const Held& h) { return h.source.group == group; });
  for (size_t i = 0; i < tensors.size(); ++i) {
    tensors[i].name = tensor_name(groups::model, buffers_.parameters()[i].name);
  }
  return reader.read_and_check(tensors, progress, ReadAs::f32, mesh_.node.get());
}

std::vector<int32_t> SavedState::load_rest(const CheckpointReader& reader,
                                           const std::function<void(int64_t bytes)>& progress) {
  return load_chosen(reader, progress, [](const Held& held) { return !is_weights(held.source); });
}

void SavedState::start_rest() {
  for (const Held& held : held_) {
    if (!is_weights(held.source)) start(held, 0);
  }
}

std::vector<int32_t> SavedState::load_chosen(const CheckpointReader& reader,
                                             const std::function<void(int64_t bytes)>& progress,
                                             const Chosen& chosen) {
  const auto is_missing = [&](const Held& held) {
    return !held.source.when_missing.empty() && !has_group(reader, held.source.group);
  };
  auto checked = reader.read_and_check(
      list(StateUse::load, [&](const Held& held) { return chosen(held) && !is_missing(held); }),
      progress, ReadAs::stored, mesh_.node.get());
  const int64_t step = reader.info().step;
  for (const Held& held : held_) {
    if (!chosen(held) || !is_missing(held)) continue;
    if (mesh_.world->rank() == 0) {
      log::info("step {} has no {}: {}", step, held.source.group, held.source.when_missing);
    }
    start(held, step);
  }
  return checked;
}

}  // namespace switchyard
