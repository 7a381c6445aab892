#include "model/gpt_stage.h"

#include <algorithm>
#include <deque>
#include <numeric>
#include <optional>

#include "core/error.h"
#include "core/ops/elementwise.h"
#include "model/block.h"
#include "model/embedding_layer.h"
#include "model/head_layer.h"
#include "model/rotary_constants.h"
#include "model/stage_buffers.h"
#include "parallel/pipeline/schedule.h"

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
  plan.device = options.device;
  plan.training = options.training;
  plan.head_chunk =
      options.head_chunk == 0 ? plan.sizes.rows : std::min(options.head_chunk, plan.sizes.rows);
  return plan;
}

// On the device: positions, the rotary table and the sum of the losses.
Arena make_constants(const StageBuffers::Plan& plan, StageContext& context) {
  const int64_t length = plan.sizes.sequence;
  const bool rotary = plan.config.positions == Positions::rotary;
  std::vector<BufferLine> lines = {{"positions", &context.positions, {length}, DType::i32},
                                   {"sum of losses", &context.loss_sum, {1}, DType::f64}};
  if (rotary) lines.push_back(rotary_line(context, length));
  Arena arena("constants", bytes_of(lines), plan.device);
  allocate(lines, arena);
  ops::iota(context.ops, context.positions, 0);
  if (rotary) write_rotary_table(context);
  return arena;
}

// Shape and place; the numbers where they can be read.
void check_batch(const Tensor& ids, const StageBuffers::Plan& plan, std::string_view what,
                 int64_t lowest) {
  const Shape shape{plan.sizes.batch, plan.sizes.sequence};
  check(ids.shape == shape, "microbatch", "{} have shape {}; the stage takes {}", what,
        ids.shape.to_string(), shape.to_string());
  check(ids.device == plan.device, "microbatch", "{} are on '{}'; the stage is on '{}'", what,
        name_of(ids.device), name_of(plan.device));
  if (ids.device == Device::cpu) {
    check_tokens(ids.span<int32_t>(), what, lowest, plan.config.vocabulary);
  }
}

const GptStage::Options& checked(const GptStage::Options& options, const ops::Context& context) {
  check(context.stream.device() == options.device, "gpt stage",
        "a stage on '{}' was given a stream of '{}'; both must be of one device",
        name_of(options.device), name_of(context.stream.device()));
  return options;
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
  bool forward_begun = false, backward_begun = false;  // for the first microbatch since begin

  void begin(std::span<const TokenBatch> given, bool training);
  void select(const Place& place, bool& begun);
  void need_weights(int64_t layer);
  int slot_of(const Place& place) const { return training_step ? place.slot : 0; }
  Tensor block_input(int slot, int64_t i, const Tensor& stage_input);
  NormOutput norm_behind(int slot, int64_t i);
  JoinGradient gradient_at_end(int slot, const Tensor& stage_input, const Tensor& output_gradient);
};

GptStage::State::State(const GptConfig& config, const Mesh& mesh, const Options& options,
                       ops::Context operators)
    : plan(make_plan(config, mesh.layout, mesh.place, checked(options, operators))),
      parameters(make_parameters(plan.config, mesh.layout, mesh.place.tp, plan.part)),
      context{.config = plan.config,
              .sizes = plan.sizes,
              .ops = operators,
              .exchange = RowExchange(*mesh.tp, operators.stream, options.exchange_chunks),
              .positions = {},
              .rotary_table = {},
              .seed = options.seed,
              .deterministic = options.deterministic},
      constants(make_constants(plan, context)),
      buffers(plan, context.work) {
  if (plan.part.first) embedding.emplace(context, parameters);
  for (int64_t i = plan.part.first_layer; i < plan.part.last_layer; ++i) {
    blocks.emplace_back(context, parameters, i);
  }
  if (plan.part.last) head.emplace(context, parameters);
  context.training = plan.training;
  if (!blocks.empty()) blocks.front().prepare(buffers.block(0, 0));  // all blocks are alike
}

void GptStage::State::begin(std::span<const TokenBatch> given, bool training) {
  for (const TokenBatch& batch : given) {
    if (plan.part.first) check_batch(batch.tokens, plan, "tokens", 0);
    if (plan.part.last) check_batch(batch.targets, plan, "targets", -1);
  }
  batches.assign(given.begin(), given.end());
  training_step = training;
  forward_begun = backward_begun = false;
  context.training = training;
  ops::fill(context.ops, context.loss_sum, 0.0f);
}

// Sets what the layers read of the microbatch at work. The head's weight gradients come with
// forward and all others with backward: `begun` is for one of the two.
void GptStage::State::select(const Place& place, bool& begun) {
  check(place.microbatch >= 0 && static_cast<size_t>(place.microbatch) < batches.size(),
        "gpt stage", "microbatch {} was asked for; {} were given", place.microbatch,
        batches.size());
  check(slot_of(place) < plan.slots, "gpt stage", "slot {} was asked for; the stage has {}",
        place.slot, plan.slots);
  context.batch = &batches[static_cast<size_t>(place.microbatch)];
  context.accumulate_gradients = begun;
  begun = true;
  context.gradients_complete = place.last_microbatch;
  if (!context.training || plan.config.hidden_dropout == 0) return;
  const int64_t first =
      context.batch->first_sample * plan.sizes.sequence + plan.sizes.first_own_row;
  ops::iota(context.ops, context.work.row_ids, first);
}

// Of a layer as Parameter::layer counts, in the step's first forward pass.
void GptStage::State::need_weights(int64_t layer) {
  if (context.accumulate_gradients || !context.inputs.needed) return;
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].layer == layer) context.inputs.needed(static_cast<int>(i));
  }
}

Tensor GptStage::State::block_input(int slot, int64_t i, const Tensor& stage_input) {
  if (i > 0) return buffers.block(slot, i - 1).output;
  return plan.part.first ? buffers.slot(slot).embedded : stage_input;
}

// What normalizes the output of block i.
NormOutput GptStage::State::norm_behind(int slot, int64_t i) {
  const auto next = static_cast<size_t>(i + 1);
  if (next < blocks.size()) return blocks[next].first_norm(buffers.block(slot, i + 1));
  return head ? head->norm(buffers.slot(slot).head) : NormOutput();
}

// Where the last block's last branch joins the stream.
JoinGradient GptStage::State::gradient_at_end(int slot, const Tensor& stage_input,
                                              const Tensor& output_gradient) {
  const ResidualBranch& branch = blocks.back().last_branch();
  if (!head) return {output_gradient, branch.backward(output_gradient)};
  const auto layers = static_cast<int64_t>(blocks.size());
  return head->backward(buffers.slot(slot).head, block_input(slot, layers, stage_input),
                        context.work.stream_gradient, branch);
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

std::vector<CountedProduct> GptStage::step_products(const GptConfig& config, const Layout& layout,
                                                    const Coordinates& place,
                                                    const Options& options, int64_t microbatches) {
  const StageBuffers::Plan plan = make_plan(config, layout, place, options);
  ProductList list({plan.config, plan.sizes, plan.dtype, options.exchange_chunks, plan.head_chunk,
                    microbatches});
  const int64_t layers = plan.part.last_layer - plan.part.first_layer;
  list.add_layers(layers, Block::forward_products);
  if (plan.part.last) HeadLayer::forward_products(list);
  list.add_layers(layers, Block::backward_products);
  return list.products();
}

std::vector<Parameter>& GptStage::parameters() { return state_->parameters; }

void GptStage::initialize(uint64_t seed) {
  initialize_parameters(state_->parameters, seed, state_->context.ops.stream);
}

Shape GptStage::exchanged() const {
  return {state_->plan.sizes.own_rows, state_->plan.sizes.hidden};
}

void GptStage::begin(std::span<const TokenBatch> batches, StepInputs inputs) {
  check(state_->plan.training, "gpt stage",
        "a training step was asked of a stage made for "
        "evaluation; make it with training = true");
  state_->begin(batches, true);
  state_->context.inputs = std::move(inputs);
  StepInputs& kept = state_->context.inputs;
  if (state_->plan.device == Device::cpu && kept.step_on_device != nullptr) {
    kept.step = *kept.step_on_device;  // operators of the host read their key's own step
  }
}

void GptStage::begin_evaluation(std::span<const TokenBatch> batches) {
  state_->begin(batches, false);
  state_->context.inputs = {};
}

Tensor GptStage::loss_sum() const { return state_->context.loss_sum; }

void GptStage::forward(const Place& place, const Tensor& input, const Tensor& output) {
  State& s = *state_;
  s.select(place, s.forward_begun);
  const int slot = s.slot_of(place);
  const auto layers = static_cast<int64_t>(s.blocks.size());
  constexpr int64_t embedding_layer = -1;
  s.need_weights(embedding_layer);
  if (s.embedding) s.embedding->forward(s.buffers.slot(slot).embedded);
  s.need_weights(s.plan.part.first_layer);
  s.norm_behind(slot, -1).normalize(s.context.ops, s.block_input(slot, 0, input));
  for (int64_t i = 0; i < layers; ++i) {
    BlockStash& stash = s.buffers.block(slot, i);
    const bool to_next_stage = !s.head && i + 1 == layers;
    s.need_weights(s.plan.part.first_layer + i + 1);  // the norm behind the block is in there
    s.blocks[static_cast<size_t>(i)].forward(stash, s.block_input(slot, i, input),
                                             to_next_stage ? output : stash.output,
                                             s.norm_behind(slot, i));
  }
  if (s.head) s.head->forward(s.buffers.slot(slot).head);
}

void GptStage::backward(const Place& place, const Tensor& input, const Tensor& output_gradient,
                        const Tensor& input_gradient) {
  State& s = *state_;
  check(s.training_step, "gpt stage", "backward was asked for in evaluation");
  s.select(place, s.backward_begun);
  const int slot = place.slot;
  const auto layers = static_cast<int64_t>(s.blocks.size());
  const Tensor& stream = s.context.work.stream_gradient;
  JoinGradient gradient = s.gradient_at_end(slot, input, output_gradient);
  for (int64_t i = layers - 1; i >= 0; --i) {
    const auto at = static_cast<size_t>(i);
    gradient = s.blocks[at].backward(s.buffers.block(slot, i), s.block_input(slot, i, input),
                                     gradient, i == 0 && !s.embedding ? input_gradient : stream,
                                     i == 0 ? nullptr : &s.blocks[at - 1].last_branch());
  }
  if (s.embedding) s.embedding->backward(stream);
}

}  // namespace switchyard
