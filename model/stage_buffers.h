#pragma once

#include "model/block_stash.h"
#include "model/stage_context.h"

namespace switchyard {

// All activations of a stage, in one allocation: a stash for each slot, and the work buffers.
class StageBuffers {
 public:
  struct Slot {
    Tensor embedded;                 // [own_rows, hidden], on the first stage
    std::vector<BlockStash> blocks;  // of the stage's layers; two in turn without training
    HeadStash head;                  // on the last stage
  };
  struct Plan {
    GptConfig config;
    LocalSizes sizes;
    StagePart part;
    DType dtype = DType::f32;
    Device device = Device::cpu;
    int tp = 1;
    int slots = 1;
    int64_t head_chunk = 0;  // rows whose logits live at once
    bool training = true;
  };
  static int64_t bytes_needed(const Plan& plan);

  StageBuffers(const Plan& plan, WorkBuffers& work);
  Slot& slot(int i) { return slots_[static_cast<size_t>(i)]; }
  BlockStash& block(int slot_number, int64_t i) {
    auto& blocks = slot(slot_number).blocks;
    return blocks[static_cast<size_t>(i) % blocks.size()];
  }

 private:
  std::vector<Slot> slots_;
  Arena arena_;
};

}  // namespace switchyard
