#include "parallel/pipeline/executor.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "core/error.h"

namespace switchyard {

namespace {

constexpr std::string_view where = "pipeline";
constexpr int in_turn = 2;  // buffers where one is computed or used while the other travels
constexpr int no_slot = -1;

// An input is kept from before forward until after backward; one more buffer receives ahead.
int input_buffers(int slots) { return slots + 1; }

// A message from each stage to the one before and the one behind; none waits for another's.
void open_channels(const Mesh& mesh) {
  std::vector<std::pair<int, int>> pairs;
  for (int stage = 0; stage + 1 < mesh.layout.pp; ++stage) {
    pairs.emplace_back(stage, stage + 1);
    pairs.emplace_back(stage + 1, stage);
  }
  if (!pairs.empty()) mesh.pp->open_channels(pairs);
}

}  // namespace

int64_t PipelineExecutor::bytes_needed(const Shape& exchanged, DType dtype, int slots,
                                       bool first_stage, bool last_stage) {
  const int from_before = first_stage ? 0 : input_buffers(slots) + in_turn;
  const int to_behind = last_stage ? 0 : in_turn + in_turn;
  return (from_before + to_behind) * Arena::footprint(exchanged, dtype);
}

PipelineExecutor::PipelineExecutor(const Mesh& mesh, const Shape& exchanged, DType dtype, int slots,
                                   Stream& stream)
    : slots_(slots) {
  check(slots >= 1, where, "{} slots; at least 1 is needed", slots);
  open_channels(mesh);
  const int64_t bytes =
      bytes_needed(exchanged, dtype, slots, mesh.first_stage(), mesh.last_stage());
  if (bytes > 0) arena_ = Arena("pipeline exchanges", bytes, stream.device());
  const auto link = [&](int peer, std::string_view what) {
    return PipelineLink{.group = mesh.pp.get(),
                        .peer = peer,
                        .stream = &stream,
                        .shape = exchanged,
                        .dtype = dtype,
                        .label = {what}};
  };
  const int before = mesh.first_stage() ? 0 : 1;
  const int behind = mesh.last_stage() ? 0 : 1;
  const int stage = mesh.place.pp;
  inputs_ = {link(stage - 1, "activations from the stage before"), before * input_buffers(slots),
             arena_};
  input_gradients_ = {link(stage - 1, "gradients to the stage before"), before * in_turn, arena_};
  outputs_ = {link(stage + 1, "activations to the stage behind"), behind * in_turn, arena_};
  output_gradients_ = {link(stage + 1, "gradients from the stage behind"), behind * in_turn,
                       arena_};
}

// Tells the mailboxes what the list exchanges, and starts with all slots free.
void PipelineExecutor::plan(std::span<const Action> actions) {
  int microbatches = 0;
  for (const Action& a : actions) {
    check(a.chunk == 0 && a.microbatch >= 0, where, "{} was given; chunk 0 alone can be run",
          to_string(a));
    microbatches = std::max(microbatches, a.microbatch + 1);
  }
  inputs_.begin(microbatches);
  outputs_.begin(microbatches);
  output_gradients_.begin(microbatches);
  input_gradients_.begin(microbatches);
  slot_of_.assign(static_cast<size_t>(microbatches), no_slot);
  has_backward_.assign(static_cast<size_t>(microbatches), uint8_t{0});
  free_slots_.clear();
  for (int slot = slots_; slot-- > 0;) free_slots_.push_back(slot);
  for (const Action& a : actions) {
    switch (a.kind) {
      case ActionKind::receive_forward:
        inputs_.expect(a.microbatch);
        break;
      case ActionKind::send_forward:
        outputs_.expect(a.microbatch);
        break;
      case ActionKind::receive_backward:
        output_gradients_.expect(a.microbatch);
        break;
      case ActionKind::send_backward:
        input_gradients_.expect(a.microbatch);
        break;
      case ActionKind::backward:
        has_backward_[static_cast<size_t>(a.microbatch)] = 1;
        [[fallthrough]];
      case ActionKind::forward:
        last_microbatch_ = a.microbatch;
        break;
      default:
        fail(where, "{} was given; backward is run undivided", to_string(a));
    }
  }
}

void PipelineExecutor::run(std::span<const Action> actions, PipelineWorker& worker) {
  plan(actions);
  inputs_.post_ahead();
  output_gradients_.post_ahead();
  for (const Action& action : actions) perform(action, worker);
  outputs_.finish();
  input_gradients_.finish();
  inputs_.finish();
  output_gradients_.finish();
}

// Receives are posted ahead and waited for where their message is used.
void PipelineExecutor::perform(const Action& action, PipelineWorker& worker) {
  switch (action.kind) {
    case ActionKind::forward:
      return forward(action, worker);
    case ActionKind::backward:
      return backward(action, worker);
    case ActionKind::send_forward:
      return outputs_.send(action.microbatch);
    case ActionKind::send_backward:
      return input_gradients_.send(action.microbatch);
    default:
      return;
  }
}

PipelineWorker::Place PipelineExecutor::place_of(const Action& action) const {
  return {.chunk = action.chunk,
          .microbatch = action.microbatch,
          .slot = slot_of_[static_cast<size_t>(action.microbatch)],
          .last_microbatch = action.microbatch == last_microbatch_};
}

void PipelineExecutor::forward(const Action& action, PipelineWorker& worker) {
  const int m = action.microbatch;
  int& slot = slot_of_[static_cast<size_t>(m)];
  check(slot == no_slot, where, "{} was given while it lives", to_string(action));
  check(!free_slots_.empty(), where, "{} was given while {} others live; {} slots were made",
        to_string(action), slots_, slots_);
  slot = free_slots_.back();
  free_slots_.pop_back();
  const Tensor input = inputs_.expects(m) ? inputs_.take(m) : Tensor();
  const Tensor output = outputs_.expects(m) ? outputs_.prepare(m) : Tensor();
  worker.forward(place_of(action), input, output);
  if (has_backward_[static_cast<size_t>(m)] == 0) end_life(m);
}

void PipelineExecutor::backward(const Action& action, PipelineWorker& worker) {
  const int m = action.microbatch;
  check(slot_of_[static_cast<size_t>(m)] != no_slot, where, "{} was given before its forward",
        to_string(action));
  const bool receives = output_gradients_.expects(m);
  const Tensor input = inputs_.expects(m) ? inputs_.take(m) : Tensor();
  const Tensor output_gradient = receives ? output_gradients_.take(m) : Tensor();
  const Tensor input_gradient =
      input_gradients_.expects(m) ? input_gradients_.prepare(m) : Tensor();
  worker.backward(place_of(action), input, output_gradient, input_gradient);
  if (receives) output_gradients_.release(m);
  end_life(m);
}

void PipelineExecutor::end_life(int microbatch) {
  int& slot = slot_of_[static_cast<size_t>(microbatch)];
  free_slots_.push_back(slot);
  slot = no_slot;
  if (inputs_.expects(microbatch)) inputs_.release(microbatch);
}

}  // namespace switchyard
