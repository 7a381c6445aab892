#include "model/gpt_stage.h"

#include <algorithm>
#include <deque>
#include <numeric>
#include <optional>

#include "core/error.h"
#include "core/ops/rotary.h"
#include "model/block.h"
#include "model/embedding_layer.h"
#include "model/head_layer.h"
#include "model/stage_buffers.h"
#include "parallel/pipeline_schedule.h"

namespace switchyard {

namespace {

// Costs of embedding and head in units of one layer, from the operations of a token's forward pass.
std::vector<int> balanced_stages(const GptConfig& c, int stages, int64_t sequence) {
  const int64_t head_weights = c.vocabulary * c.hidden;
  const int64_t layer_weights = (c.product_weights() - head_weights) / c.layers;
  const auto layer = static_cast<double>(2 * layer_weights + 2 * c.heads * c.head_dim * sequence);
  // A lookup and its scattered gradient, by memory traffic about as much as 20 operations a
  // channel.
  const auto embedding = static_cast<double>(20 * c.hidden);
  const auto head = static_cast<double>(2 * head_weights);
  return balance_stages(static_cast<int>(c.layers), stages, embedding / layer, head / layer);
}

StagePart stage_part(const std::vector<int>& layers, int stage) {
  StagePart part;
  part.first_layer = std::accumulate(layers.begin(), layers.begin() + stage, int64_t{0});
  part.last_layer = part.first_layer + layers[static_cast<size_t>(stage)];
  part.first = stage == 0;
  part.last = stage + 1 == static_cast<int>(layers.size());
  return part;
}

StageBuffers::Plan make_plan(const GptConfig& config, const Layout& layout,
                             const Coordinates& place, const GptStage::Options& options) {
  GptStage::check_layout(config, layout, options);
  StageBuffers::Plan plan;
  plan.config = config.completed();
  plan.sizes =
      local_sizes(plan.config, layout, place.tp, options.micro_batch, options.sequence_length);
  const std::vector<int> layers = GptStage::stage_layers(config, layout, options);
  plan.part = stage_part(layers, place.pp);
  plan.dtype = options.dtype;
  plan.tp = layout.tp;
  plan.slots = options.slots;
  plan.training = options.training;
  return plan;
}

Arena make_constants(const StageBuffers::Plan& plan, StageContext& context) {
  const int64_t length = plan.sizes.sequence;
  const bool rotary = plan.config.positions == Positions::rotary;
  const Shape table = rotary ? Shape{length, plan.config.rotary_dim() / 2, 2} : Shape{0};
  Arena arena("positions",
              Arena::footprint({length}, DType::i32) + Arena::footprint(table, DType::f32));
  context.positions = arena.allocate({length}, DType::i32, "positions");
  std::iota(context.positions.as<int32_t>(), context.positions.as<int32_t>() + length, 0);
  if (rotary) {
    context.rotary_table = arena.allocate(table, DType::f32, "rotary table");
    ops::rotary_table(context.rotary_table, plan.config.rotary_dim(), plan.config.rotary_base);
  }
  return arena;
}

void check_tokens(const Tensor& ids, const Shape& shape, const char* what, int64_t lowest,
                  int64_t vocabulary) {
  check(ids.shape == shape, "microbatch", "{} have shape {}; the stage takes {}", what,
        ids.shape.to_string(), shape.to_string());
  for (const int32_t id : ids.span<int32_t>()) {
    check(id >= lowest && id < vocabulary, "microbatch",
          "{} contain {}; the vocabulary has {} tokens", what, id, vocabulary);
  }
}

}  // namespace

struct GptStage::State {
  State(const GptConfig& config, const Mesh& mesh, const Options& options, ops::Context operators);

  StageBuffers::Plan plan;
  std::vector<Parameter> parameters;
  StageContext context;
  Arena constants;
  StageBuffers buffers;
  std::optional<EmbeddingLayer> embedding;
  std::deque<Block> blocks;
  std::optional<HeadLayer> head;

  std::vector<TokenBatch> batches;
  bool training_step = false;
  double loss_sum = 0;
  int64_t scored_tokens = 0;

  void begin(std::span<const TokenBatch> given, bool training);
  void select(const Place& place);
  int slot_of(const Place& place) const { return training_step ? place.slot : 0; }
  Tensor block_input(int slot, int64_t i, const Tensor& stage_input);
};

GptStage::State::State(const GptConfig& config, const Mesh& mesh, const Options& options,
                       ops::Context operators)
    : plan(make_plan(config, mesh.layout, mesh.place, options)),
      parameters(make_parameters(plan.config, mesh.layout, mesh.place.tp, plan.part)),
      context{.config = plan.config,
              .sizes = plan.sizes,
              .ops = operators,
              .exchange = RowExchange(*mesh.tp, operators.stream),
              .positions = {},
              .rotary_table = {},
              .seed = options.seed},
      constants(make_constants(plan, context)),
      buffers(plan, context.work) {
  for (int64_t row = 0; row < plan.sizes.own_rows; ++row) {
    context.work.row_positions.as<int32_t>()[row] =
        static_cast<int32_t>((plan.sizes.first_own_row + row) % plan.sizes.sequence);
  }
  if (plan.part.first) embedding.emplace(context, parameters);
  for (int64_t i = plan.part.first_layer; i < plan.part.last_layer; ++i) {
    blocks.emplace_back(context, parameters, i);
  }
  if (plan.part.last) head.emplace(context, parameters);
}

void GptStage::State::begin(std::span<const TokenBatch> given, bool training) {
  const Shape shape{plan.sizes.batch, plan.sizes.sequence};
  for (const TokenBatch& batch : given) {
    if (plan.part.first) {
      check_tokens(batch.tokens, shape, "tokens", 0, plan.config.vocabulary);
    }
    if (plan.part.last) {
      check_tokens(batch.targets, shape, "targets", -1, plan.config.vocabulary);
    }
  }
  batches.assign(given.begin(), given.end());
  training_step = training;
  context.training = training;
  loss_sum = 0;
  scored_tokens = 0;
}

// Sets what the layers read of the microbatch at work.
void GptStage::State::select(const Place& place) {
  check(place.microbatch >= 0 && static_cast<size_t>(place.microbatch) < batches.size(),
        "gpt stage", "microbatch {} was asked for; {} were given", place.microbatch,
        batches.size());
  check(slot_of(place) < plan.slots, "gpt stage", "slot {} was asked for; the stage has {}",
        place.slot, plan.slots);
  context.batch = &batches[static_cast<size_t>(place.microbatch)];
  context.gradients_complete = place.last_microbatch;
  if (!context.training || plan.config.hidden_dropout == 0) return;
  const int64_t first =
      context.batch->first_sample * plan.sizes.sequence + plan.sizes.first_own_row;
  int64_t* ids = context.work.row_ids.as<int64_t>();
  std::iota(ids, ids + plan.sizes.own_rows, first);
}

Tensor GptStage::State::block_input(int slot, int64_t i, const Tensor& stage_input) {
  if (i > 0) return buffers.block(slot, i - 1).output;
  return plan.part.first ? buffers.slot(slot).embedded : stage_input;
}

GptStage::GptStage(const GptConfig& config, const Mesh& mesh, const Options& options,
                   ops::Context context)
    : state_(std::make_unique<State>(config, mesh, options, context)) {}

GptStage::~GptStage() = default;

std::vector<int> GptStage::stage_layers(const GptConfig& config, const Layout& layout,
                                        const Options& options) {
  if (!options.layers_of_stages.empty()) return options.layers_of_stages;
  return balanced_stages(config.completed(), layout.pp, options.sequence_length);
}

int64_t GptStage::activation_bytes(const GptConfig& config, const Layout& layout,
                                   const Coordinates& place, const Options& options) {
  return StageBuffers::bytes_needed(make_plan(config, layout, place, options));
}

std::vector<Parameter> GptStage::stage_parameters(const GptConfig& config, const Layout& layout,
                                                  const Coordinates& place,
                                                  const Options& options) {
  const StageBuffers::Plan plan = make_plan(config, layout, place, options);
  return make_parameters(plan.config, layout, place.tp, plan.part);
}

std::vector<Parameter>& GptStage::parameters() { return state_->parameters; }

void GptStage::initialize() {
  for (const Parameter& p : state_->parameters) initialize_parameter(p, state_->context.seed);
}

Shape GptStage::exchanged() const {
  return {state_->plan.sizes.own_rows, state_->plan.sizes.hidden};
}

void GptStage::begin(std::span<const TokenBatch> batches, int64_t step,
                     std::function<void(int)> ready) {
  check(state_->plan.training, "gpt stage",
        "a training step was asked of a stage made for "
        "evaluation; make it with training = true");
  state_->begin(batches, true);
  state_->context.step = step;
  state_->context.ready = std::move(ready);
}

void GptStage::begin_evaluation(std::span<const TokenBatch> batches) {
  state_->begin(batches, false);
  state_->context.ready = nullptr;
}

double GptStage::loss_sum() const { return state_->loss_sum; }

int64_t GptStage::scored_tokens() const { return state_->scored_tokens; }

void GptStage::forward(const Place& place, const Tensor& input, const Tensor& output) {
  State& s = *state_;
  s.select(place);
  const int slot = s.slot_of(place);
  const auto layers = static_cast<int64_t>(s.blocks.size());
  if (s.embedding) s.embedding->forward(s.buffers.slot(slot).embedded);
  for (int64_t i = 0; i < layers; ++i) {
    BlockStash& stash = s.buffers.block(slot, i);
    const bool to_next_stage = !s.head && i + 1 == layers;
    s.blocks[static_cast<size_t>(i)].forward(stash, s.block_input(slot, i, input),
                                             to_next_stage ? output : stash.output);
  }
  if (!s.head) return;
  s.loss_sum += s.head->forward(s.buffers.slot(slot).head, s.block_input(slot, layers, input));
  const auto targets = s.context.batch->targets.span<int32_t>();
  s.scored_tokens +=
      std::count_if(targets.begin(), targets.end(), [](int32_t t) { return t >= 0; });
}

void GptStage::backward(const Place& place, const Tensor& input, const Tensor& output_gradient,
                        const Tensor& input_gradient) {
  State& s = *state_;
  check(s.training_step, "gpt stage", "backward was asked for in evaluation");
  s.select(place);
  const int slot = place.slot;
  const auto layers = static_cast<int64_t>(s.blocks.size());
  const Tensor& stream = s.context.work.stream_gradient;
  if (s.head) {
    s.head->backward(s.buffers.slot(slot).head, s.block_input(slot, layers, input), stream);
  }
  Tensor above = s.head ? stream : output_gradient;
  for (int64_t i = layers - 1; i >= 0; --i) {
    const Tensor below = i == 0 && !s.embedding ? input_gradient : stream;
    s.blocks[static_cast<size_t>(i)].backward(s.buffers.block(slot, i),
                                              s.block_input(slot, i, input), above, below);
    above = below;
  }
  if (s.embedding) s.embedding->backward(stream);
}

}  // namespace switchyard
