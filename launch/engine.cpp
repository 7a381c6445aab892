#include "launch/engine.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/ops/elementwise.h"
#include "launch/world.h"
#include "parallel/pipeline_schedule.h"

namespace switchyard {

namespace {

// Microbatches that one evaluation run holds the tokens of.
constexpr int64_t evaluation_run = 16;

// Tokens of a microbatch; far above what memory holds, and no size of a buffer overflows.
constexpr int64_t most_rows = int64_t{1} << 31;

FlatBuffers::Options buffer_options(const EngineOptions& o, const Mesh& mesh) {
  FlatBuffers::Options options;
  options.dp = mesh.layout.dp;
  options.dp_rank = mesh.place.dp;
  options.dtype = o.dtype;
  options.gradients = o.training;
  return options;
}

int64_t token_bytes(const EngineOptions& o, int64_t microbatches) {
  const Shape shape{o.micro_batch, o.sequence_length};
  return 2 * microbatches * Arena::footprint(shape, DType::i32);
}

int64_t most_microbatches(const EngineOptions& o, const Mesh& mesh) {
  const int64_t training =
      o.training ? share_of(o.global_batch / o.micro_batch, mesh.layout.dp, 0).end : 0;
  return std::max(training, evaluation_run);
}

int64_t scored_tokens(std::span<const TokenBatch> batches) {
  int64_t count = 0;
  for (const TokenBatch& batch : batches) {
    count += std::ranges::count_if(batch.targets.span<int32_t>(), [](int32_t t) { return t >= 0; });
  }
  return count;
}

}  // namespace

Share share_of(int64_t count, int parts, int part) {
  const int64_t each = count / parts;
  const int64_t odd = count % parts;
  const int64_t begin = part * each + std::min<int64_t>(part, odd);
  return {begin, begin + each + (part < odd ? 1 : 0)};
}

int activation_slots(const EngineOptions& o, const Layout& layout, const Coordinates& place) {
  if (!o.training) return 1;
  const int64_t most = share_of(o.global_batch / o.micro_batch, layout.dp, 0).end;
  return static_cast<int>(std::min<int64_t>(most, layout.pp - place.pp));
}

GptStage::Options stage_options(const EngineOptions& o, int slots) {
  GptStage::Options options;
  options.dtype = o.dtype;
  options.micro_batch = o.micro_batch;
  options.sequence_length = o.sequence_length;
  options.layers_of_stages = o.pipeline_layers;
  options.slots = slots;
  options.training = o.training;
  options.seed = o.seed;
  return options;
}

void check_engine(const EngineOptions& o, const Layout& layout) {
  check(o.micro_batch >= 1, "layout", "--micro-batch-size {}; at least 1 is allowed",
        o.micro_batch);
  check(o.micro_batch <= most_rows / o.sequence_length, "layout",
        "--micro-batch-size {} of {} tokens each; at most {} tokens together are allowed",
        o.micro_batch, o.sequence_length, most_rows);
  GptStage::check_layout(o.model, layout, stage_options(o, 1));
  if (!o.training) return;
  check(o.global_batch % o.micro_batch == 0, "layout",
        "--global-batch-size {} with --micro-batch-size {}; a multiple of it is allowed",
        o.global_batch, o.micro_batch);
  check(o.global_batch / o.micro_batch >= layout.dp, "layout",
        "{} data-parallel ranks for {} microbatches ({} samples by {}); at most one rank for each "
        "is allowed",
        layout.dp, o.global_batch / o.micro_batch, o.global_batch, o.micro_batch);
}

Engine::Engine(const EngineOptions& options, const Mesh& mesh)
    : options_(options),
      mesh_(mesh),
      slots_(activation_slots(options, mesh.layout, mesh.place)),
      stage_(options.model, mesh, stage_options(options, slots_), {stream_, scratch_}),
      buffers_(stage_.parameters(), buffer_options(options, mesh)),
      executor_(mesh, stage_.exchanged(), options.dtype, slots_, stream_),
      token_arena_("tokens", token_bytes(options, most_microbatches(options, mesh))) {
  if (options.training) {
    sync_ = std::make_unique<GradientSync>(buffers_, mesh, context());
    optimizer_ =
        std::make_unique<DistributedOptimizer>(buffers_, mesh, options.optimizer, context());
  }
  const Shape shape{options.micro_batch, options.sequence_length};
  batches_.resize(static_cast<size_t>(most_microbatches(options, mesh)));
  for (auto& batch : batches_) {
    batch.tokens = token_arena_.allocate(shape, DType::i32, "tokens");
    batch.targets = token_arena_.allocate(shape, DType::i32, "targets");
  }
}

void Engine::initialize() {
  stage_.initialize();
  if (optimizer_) optimizer_->adopt_weights();
}

// Samples behind the last one are padding whose targets do not count.
std::span<TokenBatch> Engine::read_microbatches(Share share, int64_t samples,
                                                const ReadSample& read) {
  const auto length = static_cast<size_t>(options_.sequence_length);
  for (int64_t m = share.begin; m < share.end; ++m) {
    auto& batch = batches_[static_cast<size_t>(m - share.begin)];
    batch.first_sample = m * options_.micro_batch;
    for (int64_t i = 0; i < options_.micro_batch; ++i) {
      const auto offset = static_cast<size_t>(i) * length;
      const auto tokens = batch.tokens.span<int32_t>().subspan(offset, length);
      const auto targets = batch.targets.span<int32_t>().subspan(offset, length);
      if (batch.first_sample + i < samples) {
        read(batch.first_sample + i, tokens, targets);
      } else {
        std::ranges::fill(tokens, 0);
        std::ranges::fill(targets, -1);
      }
    }
  }
  return {batches_.data(), static_cast<size_t>(share.end - share.begin)};
}

void Engine::run(std::span<const TokenBatch> batches, bool forward_only) {
  const int count = static_cast<int>(batches.size());
  if (count == 0) return;
  const auto actions = forward_only ? schedule_forward_only(mesh_.layout.pp, count, mesh_.place.pp)
                                    : schedule_1f1b(mesh_.layout.pp, count, mesh_.place.pp);
  executor_.run(actions, stage_);
}

Engine::Score Engine::sum_over_ranks(double loss_sum, int64_t tokens) {
  const bool counts = mesh_.last_stage() && mesh_.place.tp == 0;
  double sums[2] = {counts ? loss_sum : 0.0, counts ? static_cast<double>(tokens) : 0.0};
  mesh_.world->all_reduce(std::span<double>(sums), ReduceOp::sum, stream_, {"sum of losses"})
      .wait(stream_);
  return {sums[0], static_cast<int64_t>(sums[1])};
}

double Engine::read_loss_sum() {
  double sum = 0;
  copy_bytes(&sum, stage_.loss_sum().data, sizeof sum, stream_);
  stream_.synchronize();
  return sum;
}

// Every rank has the same value, so that all meet the error at once.
void Engine::stop_unless_finite(const char* what, int64_t step, double value) {
  if (std::isfinite(value)) return;
  agree_on_errors(*mesh_.world, [&] {
    fail("train", "the {} of step {} is {}; nothing of this step was saved", what, step, value);
  });
}

Engine::StepResult Engine::train_step(int64_t step, double learning_rate, const ReadSample& read) {
  set_current_step(step);
  const auto share =
      share_of(options_.global_batch / options_.micro_batch, mesh_.layout.dp, mesh_.place.dp);
  std::span<TokenBatch> batches;
  agree_on_errors(*mesh_.world,
                  [&] { batches = read_microbatches(share, options_.global_batch, read); });
  sync_->begin_step();
  stage_.begin(batches, {.step = step,
                         .ready = [this](int parameter) { sync_->parameter_ready(parameter); }});
  run(batches, false);
  sync_->finish();
  const Score score = sum_over_ranks(read_loss_sum(), scored_tokens(batches));
  const double tokens = static_cast<double>(score.tokens);
  const StepResult result{score.loss_sum / tokens, 0};
  stop_unless_finite("loss", step, result.loss);
  const auto update = optimizer_->step(step, learning_rate, 1.0 / tokens);
  if (!update.finite) stop_unless_finite("gradient norm", step, update.gradient_norm);
  sync_->gather_weights();
  return {result.loss, update.gradient_norm};
}

Engine::Score Engine::score(int64_t samples, const ReadSample& read) {
  const int64_t count = (samples + options_.micro_batch - 1) / options_.micro_batch;
  const Share share = share_of(count, mesh_.layout.dp, mesh_.place.dp);
  // As many rounds on every rank, though some have nothing left to do in the last: they agree.
  const Share largest = share_of(count, mesh_.layout.dp, 0);
  Score mine;
  for (int64_t done = 0; done < largest.end; done += evaluation_run) {
    const int64_t begin = std::min(share.begin + done, share.end);
    const Share part{begin, std::min(begin + evaluation_run, share.end)};
    std::span<TokenBatch> batches;
    agree_on_errors(*mesh_.world, [&] { batches = read_microbatches(part, samples, read); });
    if (batches.empty()) continue;
    stage_.begin_evaluation(batches);
    run(batches, true);
    mine.loss_sum += read_loss_sum();
    mine.tokens += scored_tokens(batches);
  }
  return sum_over_ranks(mine.loss_sum, mine.tokens);
}

std::vector<ShardedTensor> Engine::state_to_save() { return optimizer_->state(StateUse::save); }

void Engine::load_training_state(const CheckpointReader& reader) {
  const auto state = optimizer_->state(StateUse::load);
  reader.read(state);
}

void Engine::gather_after_load() {
  optimizer_->weights_from_master();
  sync_->gather_weights();
}

void Engine::load_weights(const CheckpointReader& reader) {
  for (auto& p : stage_.parameters()) {
    if (p.box.empty()) continue;
    const std::string name = "/model/" + p.name;
    const auto* stored = reader.find(name);
    check(stored != nullptr, "checkpoint", "step {} has no tensor '{}'", reader.info().step, name);
    check(stored->shape == p.global, "checkpoint", "'{}' is stored as {}; the model needs {}", name,
          stored->shape.to_string(), p.global.to_string());
    if (stored->dtype == p.weight.dtype) {
      reader.read(name, p.box, p.weight.data);
      continue;
    }
    Scratch::Scope scope(scratch_);
    const Tensor loaded = scope.allocate(p.box.extent, stored->dtype);
    reader.read(name, p.box, loaded.data);
    ops::cast(context(), loaded, Tensor(p.weight.data, p.weight.dtype, p.box.extent));
  }
}

}  // namespace switchyard
