#include "core/ops/norm/norm.h"

#include "core/ops/backends.h"
#include "core/ops/checks.h"

namespace switchyard::ops {

namespace {

constexpr int64_t most_hidden = 1 << 28;  // kernels count a few times as many in 32 bits

// Checks the tensors of one call against its first one, [rows, hidden].
class NormChecks {
 public:
  NormChecks(std::string_view where, std::string_view name, const Tensor& first)
      : where_(where), first_(first) {
    require(name, first);
    check_rank(where, name, first, 2);
    check_floating(where, name, first);
    check(first.shape[1] > 0 && first.shape[1] <= most_hidden, where,
          "{} has shape {}; a hidden size of 1 to {} is allowed", name, first.shape.to_string(),
          most_hidden);
    check_contiguous(where, name, first);
  }

  void require(std::string_view name, const Tensor& t) const {
    check(bool(t), where_, "{} is missing; it is needed for what was given", name);
  }
  void activation(std::string_view name, const Tensor& t) const {
    require(name, t);
    any(name, t, {first_.dtype}, first_.shape);
  }
  void parameter(std::string_view name, const Tensor& t) const {
    require(name, t);
    any(name, t, {DType::f32, first_.dtype}, {first_.shape[1]});
  }
  void statistic(std::string_view name, const Tensor& t) const {
    require(name, t);
    any(name, t, {DType::f32}, {first_.shape[0]});
  }
  void gradient(std::string_view name, const Tensor& t) const {
    require(name, t);
    any(name, t, {DType::f32}, {first_.shape[1]});
  }

 private:
  void any(std::string_view name, const Tensor& t, std::initializer_list<DType> dtypes,
           const Shape& shape) const {
    check_dtype(where_, name, t, dtypes);
    check_shape(where_, name, t, shape);
    check_contiguous(where_, name, t);
    check_device(where_, name, t, first_.device);
  }

  std::string_view where_;
  const Tensor& first_;
};

void check_forward(const ResidualNorm& t) {
  constexpr std::string_view where = "residual_norm_forward";
  const NormChecks checks(where, "residual", t.residual);
  if (t.x) {
    checks.activation("x", t.x);
    checks.activation("sum", t.sum);
    check_dropout(where, t.dropout, t.residual.shape[0], t.residual.device);
  }
  if (t.bias) checks.require("x, which bias is added to,", t.x);
  if (t.bias) checks.parameter("bias", t.bias);
  if (t.shift) checks.parameter("shift", t.shift);
  if (t.shift) checks.require("weight", t.weight);
  if (!t.weight) return;
  checks.parameter("weight", t.weight);
  checks.activation("y", t.y);
  if (t.kind == Norm::layer) checks.statistic("mean", t.mean);
  checks.statistic("reciprocal", t.reciprocal);
}

void check_norm_part(const NormChecks& checks, const ResidualNormBackward& t) {
  checks.activation("sum", t.sum);
  checks.parameter("weight", t.weight);
  if (t.kind == Norm::layer) checks.statistic("mean", t.mean);
  checks.statistic("reciprocal", t.reciprocal);
  checks.activation("dy", t.dy);
  checks.gradient("dweight", t.dweight);
  if (t.dshift) checks.gradient("dshift", t.dshift);
}

void check_backward(const ResidualNormBackward& t) {
  constexpr std::string_view where = "residual_norm_backward";
  const NormChecks checks(where, "dsum", t.dsum);
  if (t.dsum_above || !t.weight) checks.activation("dsum_above", t.dsum_above);
  if (t.weight) {
    check_norm_part(checks, t);
  } else {
    check(!t.dy && !t.dweight && !t.dshift, where,
          "dy, dweight or dshift was given without weight; without a norm they are not allowed");
  }
  if (t.dbias) checks.gradient("dbias", t.dbias);
  if (t.dx) checks.activation("dx", t.dx);
  check_dropout(where, t.dropout, t.dsum.shape[0], t.dsum.device);
  check(t.dropout.probability == 0 || t.dx.data != t.dsum.data, where,
        "dx is the memory of dsum; with dropout it must be its own");
}

}  // namespace

void residual_norm_forward(const Context& context, const ResidualNorm& t) {
  check_forward(t);
  on_device(t.residual.device, cpu::residual_norm_forward, cuda::residual_norm_forward)(context, t);
}

void residual_norm_backward(const Context& context, const ResidualNormBackward& t) {
  check_backward(t);
  on_device(t.dsum.device, cpu::residual_norm_backward, cuda::residual_norm_backward)(context, t);
}

}  // namespace switchyard::ops
