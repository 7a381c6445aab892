#include "optim/distributed_optimizer.h"

#include <array>
#include <cmath>
#include <span>
#include <string>
#include <utility>

#include "core/error.h"
#include "core/ops/elementwise.h"

namespace switchyard {

namespace {

Tensor cut(const Tensor& tensor, int64_t begin, int64_t elements) {
  return tensor.slice(0, begin, begin + elements);
}

// What outcome() holds, one behind the other.
constexpr int64_t totals_begin = ops::report_count;
constexpr int64_t remarks_begin = totals_begin + ops::total_count;
constexpr int64_t outcome_count = remarks_begin + DistributedOptimizer::remark_count;

// The small tensors of a step.
int64_t control_bytes() {
  return Arena::footprint({ops::adamw_scalar_count}, DType::f32) +
         Arena::footprint({ops::counter_count}, DType::i64) + Arena::footprint({1}, DType::f32) +
         Arena::footprint({outcome_count}, DType::f64);
}

}  // namespace

// A segment joins the run of the one before it, gap included: there weights, gradients and moments
// are zero, and stay so.
std::vector<DistributedOptimizer::Run> DistributedOptimizer::runs_where(
    const std::function<bool(const Parameter&)>& chosen) const {
  std::vector<Run> runs;
  bool joins = false;
  for (const OwnedSegment& segment : buffers_.owned()) {
    if (!chosen(buffers_.parameters()[static_cast<size_t>(segment.parameter)])) {
      joins = false;
      continue;
    }
    const int64_t gap = segment.flat_begin - segment.shard_begin;
    if (joins && gap == runs.back().flat_begin - runs.back().shard_begin) {
      runs.back().elements = segment.flat_begin - runs.back().flat_begin + segment.elements;
    } else {
      runs.push_back({segment.flat_begin, segment.shard_begin, segment.elements});
    }
    joins = true;
  }
  return runs;
}

bool DistributedOptimizer::is_counted(const Parameter& parameter) const {
  return parameter.stored && mesh_.place.tp % parameter.replicas == 0;
}

DistributedOptimizer::DistributedOptimizer(FlatBuffers& buffers, const Mesh& mesh,
                                           const Options& options, ops::Context context)
    : buffers_(buffers),
      mesh_(mesh),
      options_(options),
      context_(context),
      arena_("optimizer", bytes_needed(buffers), buffers.options().device) {
  check(buffers.options().gradients, "DistributedOptimizer",
        "the buffers were made without gradients");
  check(std::isfinite(options.clip_norm) && options.clip_norm >= 0, "DistributedOptimizer",
        "clip norm {}; 0 (no clipping) or a positive number is allowed", options.clip_norm);
  const Shape shard{buffers.shard_elements()};
  exp_avg_ = arena_.allocate(shard, DType::f32, "exp_avg");
  exp_avg_sq_ = arena_.allocate(shard, DType::f32, "exp_avg_sq");
  if (has_own_master()) master_ = arena_.allocate(shard, DType::f32, "master weights");
  scalars_ = arena_.allocate({ops::adamw_scalar_count}, DType::f32, "scalars of a step");
  counters_ = arena_.allocate({ops::counter_count}, DType::i64, "counters");
  loss_scale_ = arena_.allocate({1}, DType::f32, "loss scale");
  outcome_ = arena_.allocate({outcome_count}, DType::f64, "outcome of a step");
  report_ = cut(outcome_, 0, ops::report_count);
  totals_ = cut(outcome_, totals_begin, ops::total_count);
  sums_ = cut(outcome_, totals_begin, outcome_count - totals_begin);
  decayed_ = runs_where([](const Parameter& p) { return p.decay; });
  plain_ = runs_where([](const Parameter& p) { return !p.decay; });
  counted_ = runs_where([this](const Parameter& p) { return is_counted(p); });
  all_ = runs_where([](const Parameter&) { return true; });
  set_control(0);
}

int64_t DistributedOptimizer::bytes_needed(const FlatBuffers& buffers) {
  return bytes_needed(buffers.options().dtype, buffers.shard_elements());
}

int64_t DistributedOptimizer::bytes_needed(DType weights, int64_t shard_elements) {
  const int64_t tensors = weights == DType::f32 ? 2 : 3;
  return tensors * Arena::footprint({shard_elements}, DType::f32) + control_bytes();
}

void DistributedOptimizer::set_control(int64_t applied) {
  const std::array<int64_t, ops::counter_count> counters{applied, 0, 0,
                                                         options_.scaling.hysteresis};
  const float scale = options_.scaling.dynamic ? options_.scaling.initial : 1.0f;
  copy_bytes(counters_.data, counters.data(), counters_.bytes(), context_.stream);
  copy_bytes(loss_scale_.data, &scale, loss_scale_.bytes(), context_.stream);
}

void DistributedOptimizer::assume_applied(int64_t updates) { set_control(updates); }

Tensor DistributedOptimizer::master(const Run& run) const {
  return has_own_master() ? cut(master_, run.shard_begin, run.elements)
                          : cut(buffers_.weights(), run.flat_begin, run.elements);
}

void DistributedOptimizer::adopt_weights() {
  if (!has_own_master()) return;
  for (const Run& run : all_) {
    ops::cast(context_, cut(buffers_.weights(), run.flat_begin, run.elements), master(run));
  }
}

void DistributedOptimizer::weights_from_master() {
  if (!has_own_master()) return;
  for (const Run& run : all_) {
    ops::cast(context_, master(run), cut(buffers_.weights(), run.flat_begin, run.elements));
  }
}

// Loss, tokens, squares of the gradients and remarks, in one exchange.
void DistributedOptimizer::sum_over_world(const Contribution& own) {
  ops::fill(context_, sums_, 0.0f);
  const auto put = [&](const Tensor& from, int64_t place, int64_t count) {
    if (!from) return;
    check(from.dtype == DType::f64 && from.elements() == count, "DistributedOptimizer",
          "a contribution of {} numbers of {}; {} of f64 are allowed", from.elements(),
          name_of(from.dtype), count);
    copy_bytes(cut(sums_, place, count).data, from.data, from.bytes(), context_.stream);
  };
  put(own.loss, ops::total_loss, 1);
  put(own.tokens, ops::total_tokens, 1);
  put(own.remarks, ops::total_count, remark_count);
  for (const Run& run : counted_) {
    ops::sum_of_squares(context_, cut(buffers_.gradients(), run.flat_begin, run.elements),
                        cut(sums_, ops::total_squares, 1));
  }
  mesh_.world->all_reduce(sums_, ReduceOp::sum, context_.stream, {"all-reduce of a step's sums"})
      .wait(context_.stream);
}

void DistributedOptimizer::decide(const Tensor& learning_rate) {
  const ops::UpdateControl control{.totals = totals_,
                                   .learning_rate = learning_rate,
                                   .counters = counters_,
                                   .loss_scale = loss_scale_,
                                   .scalars = scalars_,
                                   .report = report_};
  ops::update_control(context_, control,
                      {.beta1 = options_.adamw.beta1,
                       .beta2 = options_.adamw.beta2,
                       .clip_norm = options_.clip_norm,
                       .multiplier = options_.multiplier,
                       .scaling = options_.scaling});
}

DistributedOptimizer::Outcome DistributedOptimizer::outcome_of(std::span<const double> outcome) {
  check(outcome.size() == outcome_count, "DistributedOptimizer",
        "an outcome of {} numbers; {} are allowed", outcome.size(), outcome_count);
  Outcome result;
  result.loss = outcome[ops::report_loss];
  result.tokens = outcome[ops::report_tokens];
  result.gradient_norm = outcome[ops::report_norm];
  result.clip_factor = outcome[ops::report_clip];
  result.skipped = outcome[ops::report_skipped] != 0;
  result.loss_scale = outcome[ops::report_scale];
  result.applied = static_cast<int64_t>(outcome[ops::report_applied]);
  for (int64_t i = 0; i < remark_count; ++i) {
    result.remarks[i] = outcome[static_cast<size_t>(remarks_begin + i)];
  }
  return result;
}

void DistributedOptimizer::update(const std::vector<Run>& runs, const ops::AdamWOptions& adamw) {
  for (const Run& run : runs) {
    const ops::AdamWTensors tensors{
        .weight = master(run),
        .gradient = cut(buffers_.gradients(), run.flat_begin, run.elements),
        .exp_avg = cut(exp_avg_, run.shard_begin, run.elements),
        .exp_avg_sq = cut(exp_avg_sq_, run.shard_begin, run.elements),
        .rounded =
            has_own_master() ? cut(buffers_.weights(), run.flat_begin, run.elements) : Tensor()};
    ops::adamw(context_, tensors, scalars_, adamw);
  }
}

void DistributedOptimizer::step(const Contribution& own, const Tensor& learning_rate) {
  sum_over_world(own);
  decide(learning_rate);
  update(decayed_, options_.adamw);
  ops::AdamWOptions plain = options_.adamw;
  plain.weight_decay = 0;
  update(plain_, plain);
}

// Every rank has the same ones; the first rank saves them.
void DistributedOptimizer::list_control(std::vector<ShardedTensor>& tensors, StateUse use) const {
  const bool held = use == StateUse::load || mesh_.world->rank() == 0;
  for (const auto& [name, tensor] :
       {std::pair{counters_name, counters_}, std::pair{loss_scale_name, loss_scale_}}) {
    std::vector<Piece> pieces;
    if (held) pieces.push_back({.box = Box::whole(tensor.shape), .data = tensor.data});
    tensors.push_back({.name = name,
                       .global = tensor.shape,
                       .dtype = tensor.dtype,
                       .pieces = std::move(pieces),
                       .aliases = {},
                       .device = tensor.device});
  }
}

std::vector<ShardedTensor> DistributedOptimizer::state(StateUse use) const {
  std::vector<ShardedTensor> tensors;
  const DType dtype = buffers_.options().dtype;
  for (size_t i = 0; i < buffers_.parameters().size(); ++i) {
    const Parameter& p = buffers_.parameters()[i];
    const int index = static_cast<int>(i);
    const bool held = use == StateUse::load || is_counted(p);
    const auto in_shard = [&](const Tensor& shard) {
      return held ? buffers_.shard_pieces(index, shard) : std::vector<Piece>();
    };
    const auto add = [&](const std::string& group, DType type, std::vector<Piece> pieces) {
      tensors.push_back({.name = group + p.name,
                         .global = p.global,
                         .dtype = type,
                         .pieces = std::move(pieces),
                         .aliases = {},
                         .device = buffers_.options().device});
    };
    add("/model/", dtype,
        held ? buffers_.flat_pieces(index, buffers_.weights()) : std::vector<Piece>());
    if (has_own_master()) {
      add("/optimizer/master/", DType::f32, in_shard(master_));
    } else {
      tensors.back().aliases.push_back("/optimizer/master/" + p.name);
    }
    add("/optimizer/exp_avg/", DType::f32, in_shard(exp_avg_));
    add("/optimizer/exp_avg_sq/", DType::f32, in_shard(exp_avg_sq_));
  }
  list_control(tensors, use);
  return tensors;
}

}  // namespace switchyard
