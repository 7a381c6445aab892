#include "optim/distributed_optimizer.h"

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
  return parameter.stored && !(parameter.replicated && mesh_.place.tp != 0);
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
  decayed_ = runs_where([](const Parameter& p) { return p.decay; });
  plain_ = runs_where([](const Parameter& p) { return !p.decay; });
  counted_ = runs_where([this](const Parameter& p) { return is_counted(p); });
  all_ = runs_where([](const Parameter&) { return true; });
}

int64_t DistributedOptimizer::bytes_needed(const FlatBuffers& buffers) {
  const int64_t tensors = buffers.options().dtype == DType::f32 ? 2 : 3;
  return tensors * Arena::footprint({buffers.shard_elements()}, DType::f32) +
         Arena::footprint({ops::adamw_scalar_count}, DType::f32);
}

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

double DistributedOptimizer::gradient_norm(double gradient_scale) {
  double squares = 0;
  for (const Run& run : counted_) {
    ops::sum_of_squares(context_, cut(buffers_.gradients(), run.flat_begin, run.elements),
                        Tensor(&squares, DType::f64, {1}));
  }
  mesh_.world
      ->all_reduce(std::span<double>(&squares, 1), ReduceOp::sum, context_.stream,
                   {"all-reduce of the gradient norm"})
      .wait(context_.stream);
  return std::sqrt(squares) * gradient_scale;
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

DistributedOptimizer::Result DistributedOptimizer::step(int64_t updates, double learning_rate,
                                                        double gradient_scale) {
  check(updates >= 1, "DistributedOptimizer", "update {}; they count from 1", updates);
  Result result;
  result.gradient_norm = gradient_norm(gradient_scale);
  if (!std::isfinite(result.gradient_norm)) {
    result.finite = false;
    return result;
  }
  if (options_.clip_norm > 0 && result.gradient_norm > options_.clip_norm) {
    result.clip_factor = options_.clip_norm / (result.gradient_norm + 1e-6);
  }
  const auto correction = [&](float beta) {
    return static_cast<float>(1.0 -
                              std::pow(static_cast<double>(beta), static_cast<double>(updates)));
  };
  const std::span<float> scalars = scalars_.span<float>();
  scalars[ops::AdamWScalar::learning_rate] = static_cast<float>(learning_rate);
  scalars[ops::AdamWScalar::gradient_scale] =
      static_cast<float>(gradient_scale * result.clip_factor);
  scalars[ops::AdamWScalar::bias_correction1] = correction(options_.adamw.beta1);
  scalars[ops::AdamWScalar::bias_correction2] = correction(options_.adamw.beta2);
  update(decayed_, options_.adamw);
  ops::AdamWOptions plain = options_.adamw;
  plain.weight_decay = 0;
  update(plain_, plain);
  return result;
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
                         .aliases = {}});
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
  return tensors;
}

}  // namespace switchyard
