#include "tests/launch/engine/trained_engine.h"

#include <algorithm>

#include "tests/support/temporary_folder.h"

namespace switchyard::test {

EngineOptions small(ops::test::Case on) {
  EngineOptions o;
  o.model.layers = 2;
  o.model.hidden = 24;
  o.model.heads = 3;
  o.model.vocabulary = 96;
  o.model.max_positions = 12;
  o.model = o.model.completed();
  o.dtype = on.dtype;
  o.device = on.device;
  o.sequence_length = 12;
  o.micro_batch = 2;
  o.global_batch = 6;
  o.seed = 5;
  o.optimizer.adamw.weight_decay = 0.1;
  o.optimizer.scaling = {.dynamic = false, .initial = 1024, .least = 1, .window = 4};
  return o;
}

void read(int64_t sample, std::span<int32_t> tokens, std::span<int32_t> targets) {
  int32_t token = static_cast<int32_t>(sample * 37 % 96);
  for (size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = token;
    token = (token * 5 + 7) % 96;
    targets[i] = token;
  }
}

double rate_of(int64_t step) { return 1e-3 * std::min(1.0, static_cast<double>(step) / 10); }

State state_in(const std::filesystem::path& folder, int64_t step) {
  const CheckpointReader reader(checkpoint_folder(folder, step));
  State state;
  for (const StoredTensor& t : reader.tensors()) {
    auto& bytes = state[t.name];
    bytes.resize(static_cast<size_t>(t.shape.elements() * size_of(t.dtype)));
    reader.read(t.name, Box::whole(t.shape), bytes.data());
  }
  return state;
}

void save(TrainedEngine& run, const std::filesystem::path& folder, int64_t step, bool counters) {
  CheckpointWriter writer(folder, run.world->control());
  CheckpointInfo info;
  info.step = step;
  auto state = run.engine.state().tensors(StateUse::save);
  if (!counters) {
    std::erase_if(state, [](const ShardedTensor& t) {
      return t.name == tensor_name(groups::counters) || t.name == tensor_name(groups::loss_scale);
    });
  }
  writer.stage(info, state);
  writer.commit();
}

void load(TrainedEngine& run, const std::filesystem::path& folder, int64_t step) {
  const CheckpointReader reader(checkpoint_folder(folder, step));
  run.engine.state().load(reader);
  run.engine.gather_after_load();
}

State state_of(TrainedEngine& run) {
  const TemporaryFolder folder;
  save(run, folder.path(), 1);
  return state_in(folder.path(), 1);
}

}  // namespace switchyard::test
