#include "model/stage_buffers.h"

namespace switchyard {

namespace {

using Plan = StageBuffers::Plan;

void append(std::vector<BufferLine>& table, const std::vector<BufferLine>& more) {
  table.insert(table.end(), more.begin(), more.end());
}

std::vector<BufferLine> gradient_table(WorkBuffers& work, const Plan& plan) {
  const LocalSizes& s = plan.sizes;
  const Shape stream{s.own_rows, s.hidden};
  std::vector<BufferLine> table = {
      {"stream gradient", &work.stream_gradient, stream, plan.dtype},
      {"norm gradient", &work.norm_gradient[0], stream, plan.dtype},
      {"activated gradient", &work.activated_gradient, {s.rows, s.ffn}, plan.dtype},
      {"attended gradient", &work.attended_gradient, {s.rows, s.attention_width()}, plan.dtype},
      {"qkv gradient", &work.qkv_gradient, {s.rows, s.qkv_width()}, plan.dtype},
  };
  if (plan.config.parallel_residual) {
    table.push_back({"second norm gradient", &work.norm_gradient[1], stream, plan.dtype});
  }
  return table;
}

std::vector<BufferLine> work_table(WorkBuffers& work, const Plan& plan) {
  const LocalSizes& s = plan.sizes;
  std::vector<BufferLine> table = {
      {"row ids", &work.row_ids, {s.own_rows}, DType::i64},
      {"branch", &work.branch, {s.own_rows, s.hidden}, plan.dtype},
  };
  if (plan.tp > 1) {
    table.push_back({"gathered rows", &work.gathered, {s.rows, s.hidden}, plan.dtype});
    table.push_back({"regathered rows", &work.regathered, {s.rows, s.hidden}, plan.dtype});
  }
  if (plan.part.last) {
    const int64_t chunk = plan.head_chunk;
    table.push_back({"logits", &work.logits, {chunk, s.vocabulary_rows}, plan.dtype});
    table.push_back({"logits log sum", &work.log_sum, {chunk}, DType::f32});
    table.push_back({"statistics", &work.statistics, {plan.tp * chunk, 3}, DType::f32});
    table.push_back({"losses", &work.losses, {s.rows}, DType::f32});
  }
  if (plan.training) append(table, gradient_table(work, plan));
  return table;
}

std::vector<BufferLine> slot_table(StageBuffers::Slot& slot, const Plan& plan) {
  const LocalSizes& s = plan.sizes;
  std::vector<BufferLine> table;
  if (plan.part.first) {
    table.push_back({"embedded", &slot.embedded, {s.own_rows, s.hidden}, plan.dtype});
  }
  for (BlockStash& block : slot.blocks) {
    append(table, block_table(block, plan.config, s, plan.dtype));
  }
  if (plan.part.last) append(table, head_table(slot.head, s, plan.dtype));
  return table;
}

// Without training a block's input and output are all that must be kept apart.
std::vector<StageBuffers::Slot> make_slots(const Plan& plan) {
  const int64_t layers = plan.part.last_layer - plan.part.first_layer;
  std::vector<StageBuffers::Slot> slots(plan.training ? static_cast<size_t>(plan.slots) : 1);
  for (StageBuffers::Slot& slot : slots) {
    slot.blocks.resize(static_cast<size_t>(plan.training ? layers : std::min<int64_t>(layers, 2)));
  }
  return slots;
}

std::vector<BufferLine> whole_table(std::vector<StageBuffers::Slot>& slots, WorkBuffers& work,
                                    const Plan& plan) {
  std::vector<BufferLine> table = work_table(work, plan);
  for (StageBuffers::Slot& slot : slots) append(table, slot_table(slot, plan));
  return table;
}

}  // namespace

int64_t StageBuffers::bytes_needed(const Plan& plan) {
  WorkBuffers work;
  std::vector<Slot> slots = make_slots(plan);
  return bytes_of(whole_table(slots, work, plan));
}

StageBuffers::StageBuffers(const Plan& plan, WorkBuffers& work) : slots_(make_slots(plan)) {
  const std::vector<BufferLine> table = whole_table(slots_, work, plan);
  arena_ = Arena("activations", bytes_of(table), plan.device);
  allocate(table, arena_);
}

}  // namespace switchyard
