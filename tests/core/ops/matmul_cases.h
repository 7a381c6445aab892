#pragma once

#include <cmath>
#include <vector>

#include "core/ops/matmul/matmul.h"
#include "tests/core/ops/op_test.h"

// Matrix products, and what should come of them.
namespace switchyard::ops::test::matmul_cases {

struct Problem {
  int64_t m, n, k;
  MatmulOptions options = {};
  int64_t gap = 0;  // extra elements between rows
};

struct Operands {
  Tensor a, b, c;
};

inline Operands operands(Workbench& bench, const Problem& p, DType inputs, DType output) {
  Operands o;
  const auto& options = p.options;
  o.a = bench.strided(options.transpose_a ? Shape{p.k, p.m} : Shape{p.m, p.k}, inputs, p.gap);
  o.b = bench.strided(options.transpose_b ? Shape{p.n, p.k} : Shape{p.k, p.n}, inputs, 2 * p.gap);
  o.c = bench.strided({p.m, p.n}, output, 3 * p.gap);
  for (const Tensor& t : {o.a, o.b, o.c}) bench.randomize(t);
  return o;
}

// The product in float64, and beside it the sum of magnitudes, which bounds the rounding errors.
struct Reference {
  std::vector<double> product, magnitude;
};

inline Reference reference(const Problem& p, const Operands& o) {
  const auto a = values(o.a), b = values(o.b), c = values(o.c);
  const auto bias = p.options.bias ? values(p.options.bias) : std::vector<double>();
  Reference r;
  for (int64_t i = 0; i < p.m; ++i) {
    for (int64_t j = 0; j < p.n; ++j) {
      double sum = p.options.accumulate ? c.at(static_cast<size_t>(i * p.n + j)) : 0;
      if (!bias.empty()) sum += bias.at(static_cast<size_t>(j));
      double magnitude = std::abs(sum);
      for (int64_t l = 0; l < p.k; ++l) {
        const double x = a[static_cast<size_t>(p.options.transpose_a ? l * p.m + i : i * p.k + l)];
        const double y = b[static_cast<size_t>(p.options.transpose_b ? j * p.k + l : l * p.n + j)];
        sum += x * y;
        magnitude += std::abs(x * y);
      }
      r.product.push_back(sum);
      r.magnitude.push_back(magnitude);
    }
  }
  return r;
}

using Operator = decltype(matmul);

// Sums in fp32 are off by sqrt(k) roundings of the magnitude at most, then c is rounded once.
inline void expect_product(Operator& multiply, Workbench& bench, const Problem& p,
                           const Operands& o) {
  const Reference r = reference(p, o);
  multiply(bench.context(), o.a, o.b, o.c, p.options);
  bench.wait();
  const auto actual = values(o.c);
  const double sums = 0x1p-23 * std::sqrt(static_cast<double>(p.k) + 1);
  for (size_t i = 0; i < actual.size(); ++i) {
    const double allowed =
        sums * r.magnitude[i] + 1.01 * rounding(o.c.dtype) * std::abs(r.product[i]);
    ASSERT_NEAR(actual[i], r.product[i], allowed)
        << "element " << i << " of " << p.m << " x " << p.n << " x " << p.k;
  }
}

inline const std::vector<Problem> problems = {
    {1, 1, 1}, {3, 5, 7}, {64, 64, 64}, {33, 130, 65}, {1, 100, 257}, {129, 1, 31}, {70, 48, 300}};

class MatmulTest : public OpTest {
 protected:
  void check_layouts(Operator& multiply, DType output) {
    for (Problem p : problems) {
      for (int layout = 0; layout < 8; ++layout) {
        p.options = {(layout & 1) != 0, (layout & 2) != 0, (layout & 4) != 0};
        p.gap = (layout + p.m) % 2 * 3;
        expect_product(multiply, bench, p, operands(bench, p, dtype(), output));
      }
    }
  }

  void check_bias(Operator& multiply, DType output, DType bias) {
    for (Problem p : problems) {
      p.options.transpose_b = true;
      p.options.bias = bench.random({p.n}, bias);
      expect_product(multiply, bench, p, operands(bench, p, dtype(), output));
    }
  }
};

}  // namespace switchyard::ops::test::matmul_cases
