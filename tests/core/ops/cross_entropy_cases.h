#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/ops/cross_entropy.h"
#include "tests/core/ops/op_test.h"

// Losses of logits, whole or in parts of the vocabulary, and what should come of them.
namespace switchyard::ops::test::cross_entropy_cases {

inline constexpr double infinity = std::numeric_limits<double>::infinity();

inline double log_sum_of(const double* x, size_t columns) {
  const double top = *std::max_element(x, x + columns);
  double sum = 0;
  for (size_t i = 0; i < columns; ++i) sum += std::exp(x[i] - top);
  return top + std::log(sum);
}

struct Result {
  std::vector<double> log_sum, loss, gradient;
};

inline Result reference(const std::vector<double>& logits, const std::vector<double>& targets) {
  const size_t columns = logits.size() / targets.size();
  Result r{{}, {}, std::vector<double>(logits.size())};
  for (size_t row = 0; row < targets.size(); ++row) {
    const double* x = &logits[row * columns];
    r.log_sum.push_back(log_sum_of(x, columns));
    r.loss.push_back(0);
    if (targets[row] < 0) continue;
    const auto target = static_cast<size_t>(targets[row]);
    r.loss.back() = r.log_sum.back() - x[target];
    for (size_t i = 0; i < columns; ++i) {
      r.gradient[row * columns + i] = std::exp(x[i] - r.log_sum.back()) - (i == target ? 1 : 0);
    }
  }
  return r;
}

class CrossEntropyTest : public OpTest {
 protected:
  // Runs both passes over the columns cut at `cuts`, each part `padding` columns wider than it is.
  Result run(const Tensor& logits, const std::vector<double>& targets,
             const std::vector<int64_t>& cuts, int64_t padding = 0) {
    const int64_t rows = logits.shape[0];
    const auto parts = static_cast<int64_t>(cuts.size()) - 1;
    const Tensor wanted = bench.holding(targets, {rows}, DType::i32);
    const Tensor statistics = bench.random({parts, rows, 3}, DType::f32);
    const Tensor log_sum = bench.zeros({rows}, DType::f32);
    const Tensor loss = bench.zeros({rows}, DType::f32);
    std::vector<Tensor> pieces;
    for (int64_t p = 0; p < parts; ++p) {
      pieces.push_back(padded(logits, cuts[size_t(p)], cuts[size_t(p) + 1], padding));
      cross_entropy_statistics(context(), pieces.back(), wanted, part(cuts, p),
                               statistics.slice(0, p, p + 1).view({rows, 3}));
    }
    cross_entropy_combine(context(), statistics, wanted, log_sum, loss);
    for (int64_t p = 0; p < parts; ++p) {
      cross_entropy_gradient(context(), pieces[size_t(p)], wanted, part(cuts, p), log_sum);
    }
    bench.wait();
    return {values(log_sum), values(loss), joined(pieces, cuts, rows, logits.shape[1])};
  }

 private:
  static VocabularyPart part(const std::vector<int64_t>& cuts, int64_t p) {
    return {cuts[size_t(p)], cuts[size_t(p) + 1] - cuts[size_t(p)]};
  }

  Tensor padded(const Tensor& logits, int64_t begin, int64_t end, int64_t padding) {
    const Tensor piece = bench.random({logits.shape[0], end - begin + padding}, dtype(), 1e4);
    assign(piece.slice(1, 0, end - begin), values(logits.slice(1, begin, end)));
    return piece;
  }

  // The gradients side by side; what lies in padding columns must be 0.
  std::vector<double> joined(const std::vector<Tensor>& pieces, const std::vector<int64_t>& cuts,
                             int64_t rows, int64_t columns) {
    const Tensor all = bench.zeros({rows, columns}, dtype());
    for (size_t p = 0; p < pieces.size(); ++p) {
      const int64_t valid = cuts[p + 1] - cuts[p];
      assign(all.slice(1, cuts[p], cuts[p + 1]), values(pieces[p].slice(1, 0, valid)));
      for (const double value : values(pieces[p].slice(1, valid, pieces[p].shape[1]))) {
        EXPECT_EQ(value, 0);
      }
    }
    return values(all);
  }
};

inline void expect_equal(const Result& actual, const Result& wanted, DType dtype,
                         double slack = 1) {
  expect_near(actual.log_sum, wanted.log_sum, 1e-7 * slack, 5e-7 * slack, "log_sum");
  expect_near(actual.loss, wanted.loss, 1e-7 * slack, 5e-7 * slack, "loss");
  expect_near(actual.gradient, wanted.gradient, 3e-6 * slack + rounding(dtype), 2e-7 * slack,
              "gradient");
}

}  // namespace switchyard::ops::test::cross_entropy_cases
