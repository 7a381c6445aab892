#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/memory.h"
#include "core/ops/context.h"
#include "optim/shard_runs.h"
#include "parallel/checkpoint/state_groups.h"

namespace switchyard {

// What a list of state tensors is for. Saving names each element once over the whole mesh; loading
// names every copy: every replica within tp, tied ones on both stages.
enum class StateUse : uint8_t { save, load };

enum class StateExtent : uint8_t {
  weights,  // the flat buffers' weights
  shard,    // f32 [shard elements], a tensor for each weight in checkpoints
  alike,    // the same small tensor on every rank, which the first one saves
};

class SavedState;

// One group of what a rank keeps from step to step and saves. What the functions do is queued on
// the state's context; `own` is the source's tensor. They must not allocate nor wait.
struct StateSource {
  std::string group;  // state_groups.h
  StateExtent extent = StateExtent::shard;
  DType dtype = DType::f32;               // of one that is alike
  int64_t elements = 0;                   // of one that is alike
  std::vector<std::string> aliases = {};  // groups of the same elements, stored once
  // Its value behind `step` steps of which it has no record: 0 at a random start. None: zeros.
  std::function<void(const SavedState& state, const Tensor& own, int64_t step)> start = {};
  // A checkpoint may lack the group: it gets its start, and the log says so in these words, such as
  // "it starts from the weights". Empty: such a checkpoint is an error.
  std::string when_missing = {};
  // Behind each update, also a skipped one, of which the step's scalars tell (ops::AdamWScalar).
  std::function<void(const SavedState& state, const Tensor& own, const Tensor& scalars)> updated =
      {};
};

// A rank's saved state: memory for its sources, and their way into checkpoints and back.
class SavedState {
 public:
  // The tensors come from the arena, zeroed; all given must outlive this object.
  SavedState(std::vector<StateSource> sources, const FlatBuffers& buffers, const Mesh& mesh,
             ops::Context context, Arena& arena);
  static int64_t bytes_needed(std::span<const StateSource> sources, int64_t shard_elements);

  void start();                         // from the present weights, with no step done
  void updated(const Tensor& scalars);  // an update has been queued
  // All names of this rank's parameters are listed, also those it has no pieces of.
  std::vector<ShardedTensor> tensors(StateUse use) const;
  // A tensor of [shard elements] that is not among the sources, as a group beside theirs.
  std::vector<ShardedTensor> shard_tensors(std::string_view group, const Tensor& shard,
                                           StateUse use) const;
  // Collective over the mesh's node. Memory must be at rest. Throws Error naming the first tensor
  // that is not there and should be, or a damaged one. Returns which stored pieces were checked:
  // CheckpointReader::read_and_check.
  std::vector<int32_t> load(const CheckpointReader& reader,
                            const std::function<void(int64_t bytes)>& progress = {});
  // The same in two parts, for a branch of an average or of published weights: the weights, from
  // the checkpoint's model in f32, bf16 or f16; all else, from another checkpoint or as at a new
  // start. The latter expects tensors that are still zero.
  std::vector<int32_t> load_mean(const CheckpointReader& reader,
                                 const std::function<void(int64_t bytes)>& progress = {});
  std::vector<int32_t> load_rest(const CheckpointReader& reader,
                                 const std::function<void(int64_t bytes)>& progress = {});
  void start_rest();

  const Tensor& tensor(std::string_view group) const;
  const ShardRuns& runs() const { return runs_; }
  Tensor weights(const ShardRun& run) const { return run.in_flat(buffers_.weights()); }
  bool has_own_master() const { return static_cast<bool>(master_); }
  Tensor master(const ShardRun& run) const;  // f32, which with fp32 weights are the weights
  const ops::Context& context() const { return context_; }

 private:
  struct Held {
    StateSource source;
    Tensor tensor;
  };
  using Chosen = std::function<bool(const Held&)>;
  std::vector<ShardedTensor> list(StateUse use, const Chosen& chosen) const;
  ShardedTensor of_parameter(const Held& held, int parameter, StateUse use) const;
  ShardedTensor of_all(const Held& held, StateUse use) const;
  void start(const Held& held, int64_t step) const;
  std::vector<int32_t> load_chosen(const CheckpointReader& reader,
                                   const std::function<void(int64_t bytes)>& progress,
                                   const Chosen& chosen);

  const FlatBuffers& buffers_;
  const Mesh& mesh_;
  ops::Context context_;
  ShardRuns runs_;
  std::vector<bool> saves_;  // by parameter: saved_parameters
  std::vector<Held> held_;
  Tensor master_;  // none where the weights are the master
};

}  // namespace switchyard
