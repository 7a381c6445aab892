#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "core/ops/norm/norm.h"
#include "tests/core/ops/op_test.h"

// Operands of norms, and what should come of them.
namespace switchyard::ops::test {

using Numbers = std::vector<double>;

struct NormReference {
  Numbers y, mean, reciprocal;
};

// sum, y [rows, hidden]
inline NormReference norm_reference(Norm kind, double epsilon, const Numbers& sum,
                                    const Numbers& weight, const Numbers& shift) {
  const size_t hidden = weight.size();
  NormReference r;
  for (size_t begin = 0; begin < sum.size(); begin += hidden) {
    double mean = 0;
    double variance = 0;
    for (size_t c = 0; c < hidden; ++c) mean += sum[begin + c] / static_cast<double>(hidden);
    if (kind == Norm::rms) mean = 0;
    for (size_t c = 0; c < hidden; ++c) {
      variance += std::pow(sum[begin + c] - mean, 2) / static_cast<double>(hidden);
    }
    r.mean.push_back(mean);
    r.reciprocal.push_back(1 / std::sqrt(variance + epsilon));
    for (size_t c = 0; c < hidden; ++c) {
      const double standard = (sum[begin + c] - mean) * r.reciprocal.back();
      r.y.push_back(standard * weight[c] + (shift.empty() ? 0 : shift[c]));
    }
  }
  return r;
}

// 0 or 1 / (1 - p) for each element.
inline Numbers mask_reference(const Dropout& dropout, int64_t rows, int64_t hidden) {
  Numbers mask(static_cast<size_t>(rows * hidden), 1.0);
  if (dropout.probability == 0) return mask;
  const Numbers ids = values(dropout.row_ids);
  for (size_t i = 0; i < mask.size(); ++i) {
    const auto row = i / static_cast<size_t>(hidden);
    const uint64_t element = static_cast<uint64_t>(ids[row]) * static_cast<uint64_t>(hidden) +
                             i % static_cast<size_t>(hidden);
    const bool kept = dropout.key.word(element) >= dropout_threshold(dropout.probability);
    mask[i] = kept ? 1 / (1 - dropout.probability) : 0;
  }
  return mask;
}

class NormTest : public OpTest {
 protected:
  Dropout some_dropout(int64_t rows) {
    Numbers ids;
    for (int64_t row = 0; row < rows; ++row) ids.push_back(static_cast<double>(row * 7 + 3));
    return {0.3, {11, 5, 77}, bench.holding(ids, {rows}, DType::i64)};
  }

  ResidualNorm forward_case(Norm kind, int64_t rows, int64_t hidden, bool branch, bool norm) {
    ResidualNorm t;
    t.kind = kind;
    t.residual = bench.random({rows, hidden}, dtype());
    if (branch) {
      t.x = bench.random({rows, hidden}, dtype());
      t.bias = bench.random({hidden}, dtype());
      t.sum = bench.zeros({rows, hidden}, dtype());
    }
    if (!norm) return t;
    t.weight = bench.random({hidden}, dtype());
    t.y = bench.zeros({rows, hidden}, dtype());
    t.reciprocal = bench.zeros({rows}, DType::f32);
    if (kind == Norm::layer) {
      t.shift = bench.random({hidden}, DType::f32);
      t.mean = bench.zeros({rows}, DType::f32);
    }
    return t;
  }

  void expect_sum(const ResidualNorm& t, const Numbers& residual, const Numbers& actual) {
    const int64_t hidden = t.residual.shape[1];
    const Numbers x = values(t.x);
    const Numbers bias = t.bias ? values(t.bias) : Numbers(static_cast<size_t>(hidden), 0.0);
    const Numbers mask = mask_reference(t.dropout, t.residual.shape[0], hidden);
    Numbers sum(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      sum[i] = residual[i] + mask[i] * (x[i] + bias[i % static_cast<size_t>(hidden)]);
    }
    expect_near(actual, sum, rounding(dtype()), 1e-6, "sum");
  }

  void expect_norm(const ResidualNorm& t, const Numbers& sum) {
    const auto r = norm_reference(t.kind, t.epsilon, sum, values(t.weight),
                                  t.shift ? values(t.shift) : Numbers());
    if (t.kind == Norm::layer) expect_near(values(t.mean), r.mean, 1e-6, 1e-6, "mean");
    expect_near(values(t.reciprocal), r.reciprocal, 2e-6, 0, "reciprocal");
    expect_near(values(t.y), r.y, rounding(dtype()), 5e-6, "y");
  }
};

class NormBackwardTest : public NormTest {
 protected:
  static constexpr int64_t rows = 5;

  ResidualNormBackward backward_case(const ResidualNorm& f) {
    const int64_t hidden = f.residual.shape[1];
    ResidualNormBackward b;
    b.kind = f.kind;
    b.sum = f.residual;
    b.weight = f.weight;
    b.mean = f.mean;
    b.reciprocal = f.reciprocal;
    b.dy = bench.random({rows, hidden}, dtype());
    b.dsum = bench.zeros({rows, hidden}, dtype());
    b.dweight = bench.random({hidden}, DType::f32);
    return b;
  }

  // Sums over columns of bf16 values are taken before or after their rounding, as a backend likes.
  void expect_added(const Tensor& sums, const Numbers& before, Numbers reference,
                    const std::string& what) {
    for (size_t i = 0; i < reference.size(); ++i) reference[i] += before[i];
    expect_near(values(sums), reference, 1e-5, dtype() == DType::f32 ? 2e-5 : 0.1, what);
  }
};

}  // namespace switchyard::ops::test
