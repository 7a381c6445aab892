#include "core/ops/norm.h"

#include <omp.h>

#include <cstring>
#include <functional>

#include "core/ops/norm_launch.h"
#include "tests/core/ops/op_test.h"

namespace switchyard::ops::test {
namespace {

using Numbers = std::vector<double>;

struct NormReference {
  Numbers y, mean, reciprocal;
};

// sum, y [rows, hidden]
NormReference norm_reference(Norm kind, double epsilon, const Numbers& sum, const Numbers& weight,
                             const Numbers& shift) {
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
Numbers mask_reference(const Dropout& dropout, int64_t rows, int64_t hidden) {
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

// d f / d at[i] by central differences.
Numbers gradient_of(const std::function<double(const Numbers&)>& f, Numbers at) {
  constexpr double step = 1e-5;
  Numbers gradient;
  for (double& x : at) {
    const double was = x;
    x = was + step;
    const double above = f(at);
    x = was - step;
    gradient.push_back((above - f(at)) / (2 * step));
    x = was;
  }
  return gradient;
}

double dot(const Numbers& a, const Numbers& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
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

constexpr Norm kinds[] = {Norm::layer, Norm::rms};

TEST_P(NormTest, ForwardWithAllParts) {
  for (const Norm kind : kinds) {
    for (const int64_t hidden : {1, 2, 7, 32, 45, 771, 2050}) {
      SCOPED_TRACE(hidden);
      ResidualNorm t = forward_case(kind, 19, hidden, true, true);
      t.dropout = some_dropout(19);
      t.epsilon = 1e-3f;
      residual_norm_forward(context(), t);
      expect_sum(t, values(t.residual), values(t.sum));
      expect_norm(t, values(t.sum));
    }
  }
}

TEST_P(NormTest, ForwardWithoutBranchIsAPlainNorm) {
  for (const Norm kind : kinds) {
    const ResidualNorm t = forward_case(kind, 5, 37, false, true);
    residual_norm_forward(context(), t);
    expect_norm(t, values(t.residual));
  }
}

TEST_P(NormTest, ForwardWithoutNormOrBiasAddsInPlace) {
  ResidualNorm t = forward_case(Norm::layer, 6, 21, true, false);
  t.bias = {};
  t.sum = t.residual;
  const Numbers residual = values(t.residual);
  residual_norm_forward(context(), t);
  expect_sum(t, residual, values(t.sum));
}

// A large mean with a small deviation: E[x^2] - E[x]^2 would lose the variance.
TEST_P(NormTest, VarianceDoesNotCancel) {
  ResidualNorm t = forward_case(Norm::layer, 2, 64, false, true);
  Numbers numbers(128);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = 1024 + (i % 2 == 0 ? 8.0 : -8.0);
  assign(t.residual, numbers);
  residual_norm_forward(context(), t);
  expect_norm(t, values(t.residual));
}

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

TEST_P(NormBackwardTest, AgreesWithFiniteDifferences) {
  for (const Norm kind : kinds) {
    for (const int64_t hidden : {1, 3, 16, 29}) {
      SCOPED_TRACE(hidden);
      const ResidualNorm f = forward_case(kind, rows, hidden, false, true);
      residual_norm_forward(context(), f);
      ResidualNormBackward b = backward_case(f);
      b.dsum_above = bench.random({rows, hidden}, dtype());
      b.dx = bench.zeros({rows, hidden}, dtype());
      b.dbias = bench.random({hidden}, DType::f32);
      b.dropout = some_dropout(rows);
      if (kind == Norm::layer) b.dshift = bench.random({hidden}, DType::f32);
      const Numbers sum = values(f.residual), weight = values(f.weight), dy = values(b.dy);
      const Numbers shift = f.shift ? values(f.shift) : Numbers();
      const Numbers above = values(b.dsum_above), dweight = values(b.dweight);
      const Numbers dbias = values(b.dbias), dshift = f.shift ? values(b.dshift) : Numbers();
      residual_norm_backward(context(), b);

      const auto loss = [&](const Numbers& s, const Numbers& w, const Numbers& h) {
        return dot(norm_reference(kind, f.epsilon, s, w, h).y, dy) + dot(s, above);
      };
      const double relative = 2 * rounding(dtype());
      const Numbers dsum =
          gradient_of([&](const Numbers& s) { return loss(s, weight, shift); }, sum);
      expect_near(values(b.dsum), dsum, relative, hidden == 1 ? 1e-3 : 5e-5, "dsum");
      expect_added(b.dweight, dweight,
                   gradient_of([&](const Numbers& w) { return loss(sum, w, shift); }, weight),
                   "dweight");
      if (f.shift) {
        expect_added(b.dshift, dshift,
                     gradient_of([&](const Numbers& h) { return loss(sum, weight, h); }, shift),
                     "dshift");
      }
      const Numbers mask = mask_reference(b.dropout, rows, hidden);
      Numbers dx = values(b.dsum);
      Numbers columns(static_cast<size_t>(hidden), 0.0);
      for (size_t i = 0; i < dx.size(); ++i) {
        dx[i] *= mask[i];
        columns[i % static_cast<size_t>(hidden)] += dx[i];
      }
      expect_near(values(b.dx), dx, 2 * rounding(dtype()), 1e-6, "dx");
      expect_added(b.dbias, dbias, columns, "dbias");
    }
  }
}

// By the formula, what AgreesWithFiniteDifferences finds numerically.
struct GradientReference {
  Numbers dsum, dx, dweight, dshift;
};
GradientReference gradient_reference(const ResidualNorm& f, const ResidualNormBackward& b) {
  const int64_t rows = b.dsum.shape[0];
  const auto hidden = static_cast<size_t>(b.dsum.shape[1]);
  const Numbers sum = values(b.sum), dy = values(b.dy), weight = values(b.weight);
  const Numbers above = values(b.dsum_above),
                mask = mask_reference(b.dropout, rows, b.dsum.shape[1]);
  const auto norm = norm_reference(f.kind, f.epsilon, sum, weight, {});
  GradientReference r;
  for (Numbers* sums : {&r.dweight, &r.dshift}) sums->resize(hidden);
  for (size_t row = 0; row < norm.mean.size(); ++row) {
    const auto standard = [&](size_t c) {
      return (sum[row * hidden + c] - norm.mean[row]) * norm.reciprocal[row];
    };
    double along = 0, total = 0;
    for (size_t c = 0; c < hidden; ++c) {
      const double g = dy[row * hidden + c] * weight[c];
      along += g * standard(c) / static_cast<double>(hidden);
      total += f.kind == Norm::layer ? g / static_cast<double>(hidden) : 0;
    }
    for (size_t c = 0; c < hidden; ++c) {
      const size_t i = row * hidden + c;
      const double d = norm.reciprocal[row] * (dy[i] * weight[c] - total - standard(c) * along);
      r.dsum.push_back(d + above[i]);
      r.dx.push_back(r.dsum.back() * mask[i]);
      r.dweight[c] += dy[i] * standard(c);
      r.dshift[c] += dy[i];
    }
  }
  return r;
}

class NormSizesTest : public NormBackwardTest {
 protected:
  // All parts, forward and backward, against the formulas.
  void check_all_parts(Norm kind, int64_t count, int64_t hidden) {
    SCOPED_TRACE(hidden);
    ResidualNorm f = forward_case(kind, count, hidden, true, true);
    f.dropout = some_dropout(count);
    residual_norm_forward(context(), f);
    expect_sum(f, values(f.residual), values(f.sum));
    expect_norm(f, values(f.sum));
    ResidualNormBackward b = backward_case(f);
    b.sum = f.sum;
    b.dy = bench.random({count, hidden}, dtype());
    b.dsum = bench.random({count, hidden}, dtype());
    b.dsum_above = b.dsum;
    b.dx = bench.zeros({count, hidden}, dtype());
    b.dbias = bench.random({hidden}, DType::f32);
    b.dropout = f.dropout;
    if (kind == Norm::layer) b.dshift = bench.random({hidden}, DType::f32);
    const GradientReference wanted = gradient_reference(f, b);
    const Numbers dweight = values(b.dweight), dbias = values(b.dbias);
    const Numbers dshift = b.dshift ? values(b.dshift) : Numbers();
    residual_norm_backward(context(), b);
    expect_near(values(b.dsum), wanted.dsum, 2 * rounding(dtype()), 2e-5, "dsum");
    expect_near(values(b.dx), wanted.dx, 3 * rounding(dtype()), 2e-5, "dx");
    expect_added(b.dweight, dweight, wanted.dweight, "dweight");
    if (b.dshift) expect_added(b.dshift, dshift, wanted.dshift, "dshift");
    // dx is of dsum as it is stored.
    const Numbers mask = mask_reference(b.dropout, count, hidden), dsum = values(b.dsum);
    Numbers columns(static_cast<size_t>(hidden));
    for (size_t i = 0; i < dsum.size(); ++i) columns[i % columns.size()] += dsum[i] * mask[i];
    expect_added(b.dbias, dbias, columns, "dbias");
  }
};

// Sizes of models, and of every way that rows are divided among threads.
TEST_P(NormSizesTest, LayerNorm) {
  // At 4096 backward's sums take 48 KiB of dynamic shared memory, and there are static variables.
  for (const int64_t hidden : {8, 64, 256, 520, 768, 1024, 1280, 2048, 4096, 5120}) {
    check_all_parts(Norm::layer, 5, hidden);
  }
}
TEST_P(NormSizesTest, RmsNorm) {
  for (const int64_t hidden : {96, 384, 1000, 4096, 8192}) check_all_parts(Norm::rms, 5, hidden);
}
TEST_P(NormSizesTest, LongRows) {
  check_all_parts(Norm::layer, 3, 16384);
  check_all_parts(Norm::rms, 3, 20480);
  check_all_parts(Norm::layer, 2, 20481);
}
TEST_P(NormSizesTest, MoreRowsThanRunAtOnce) {
  check_all_parts(Norm::layer, 1700, 24);
  check_all_parts(Norm::rms, 1100, 39);
}

TEST_P(NormSizesTest, WithoutNormMasksTheGradient) {
  for (const int64_t hidden : {18, 768, 8192, 20480}) {
    for (const bool bias : {false, true}) {
      SCOPED_TRACE(hidden);
      ResidualNormBackward b;
      b.dsum_above = b.dsum = bench.random({rows, hidden}, dtype());
      b.dx = bench.zeros({rows, hidden}, dtype());
      b.dropout = some_dropout(rows);
      if (bias) b.dbias = bench.zeros({hidden}, DType::f32);
      Numbers dx = values(b.dsum), columns(static_cast<size_t>(hidden));
      const Numbers mask = mask_reference(b.dropout, rows, hidden);
      for (size_t i = 0; i < dx.size(); ++i) columns[i % columns.size()] += dx[i] *= mask[i];
      residual_norm_backward(context(), b);
      expect_near(values(b.dx), dx, rounding(dtype()), 1e-6, "dx");
      if (bias) expect_near(values(b.dbias), columns, 1e-6, 1e-6, "dbias");
    }
  }
}

// Rows that could be read 16 bytes at a time if they began at a multiple of that.
TEST_P(NormSizesTest, RowsNeedNoAlignment) {
  constexpr int64_t count = 3, hidden = 64;
  const Tensor memory = bench.random({count * hidden + 1}, dtype());
  ResidualNorm t = forward_case(Norm::rms, count, hidden, false, true);
  t.residual = memory.slice(0, 1, count * hidden + 1).view({count, hidden});
  residual_norm_forward(context(), t);
  expect_norm(t, values(t.residual));
  const Tensor weights = bench.random({hidden + 1}, DType::f32);
  t.residual = bench.random({count, hidden}, dtype());
  t.weight = weights.slice(0, 1, hidden + 1);
  residual_norm_forward(context(), t);
  expect_norm(t, values(t.residual));
}

TEST_P(NormSizesTest, TwiceTheSameBitsWithoutNewMemory) {
  constexpr int64_t count = 700, hidden = 80;
  const ResidualNorm f = forward_case(Norm::layer, count, hidden, false, true);
  ResidualNormBackward b = backward_case(f);
  b.dy = bench.random({count, hidden}, dtype());
  b.dsum = bench.zeros({count, hidden}, dtype());
  b.dshift = bench.zeros({hidden}, DType::f32);
  const auto run = [&] {
    assign(b.dweight, Numbers(hidden, 0.0));
    assign(b.dshift, Numbers(hidden, 0.0));
    residual_norm_forward(context(), f);
    residual_norm_backward(context(), b);
    return std::pair(values(b.dweight), values(b.dshift));
  };
  const auto one = run();
  const auto allocations = memory_statistics().allocations;
  EXPECT_EQ(run(), one);
  EXPECT_EQ(memory_statistics().allocations, allocations);
}

TEST(NormLaunch, StaysWithinTheLimits) {
  using namespace switchyard::cuda;
  for (const int64_t hidden :
       {1, 7, 64, 768, 1024, 1032, 2048, 6144, 8192, 16384, 32768, 1 << 26}) {
    for (const int pack : {4, 8}) {
      for (const bool packed : {false, hidden % pack == 0}) {
        const NormLayout layout = norm_layout(hidden, pack, packed);
        const int64_t held =
            int64_t{layout.packs} * layout.width * (layout.warp_a_row ? 32 : layout.threads);
        EXPECT_TRUE(layout.packs == 0 || held >= hidden);
        for (const int64_t rows : {int64_t{1}, int64_t{65536}, int64_t{3} << 31}) {
          EXPECT_NO_THROW(check_launch(norm_forward_launch(layout, rows), "norm"));
          for (const int sums : {0, 1, 3}) {
            const auto backward = norm_backward_launch(layout, rows, hidden, sums);
            EXPECT_NO_THROW(check_launch(backward.shape, "norm"));
            EXPECT_LE(backward.shape.x, std::min<int64_t>(rows, multiprocessors * 48));
            // What a multiprocessor holds at once.
            const int64_t resident = (backward.shape.x + multiprocessors - 1) / multiprocessors;
            EXPECT_LE(resident * backward.shape.threads, 1024);
            EXPECT_LE(resident * (backward.shape.shared_bytes + 1024), 228 << 10);
          }
        }
      }
    }
  }
}

TEST(NormLaunch, RowsOfModels) {
  using namespace switchyard::cuda;
  const auto expect = [](int64_t hidden, bool warp_a_row, int packs, int threads) {
    const NormLayout layout = norm_layout(hidden, 8, true);
    EXPECT_EQ(layout.warp_a_row, warp_a_row) << hidden;
    EXPECT_EQ(layout.packs, packs) << hidden;
    EXPECT_EQ(layout.threads, threads) << hidden;
  };
  expect(768, true, 3, 128);
  expect(1024, true, 4, 128);
  expect(2048, false, 2, 128);
  expect(4096, false, 2, 256);
  expect(8192, false, 4, 256);
  expect(16384, false, 4, 512);
  expect(32768, false, 0, 512);
  EXPECT_EQ(norm_backward_launch(norm_layout(768, 8, true), 65536, 768, 3).shape.x, 132);
  EXPECT_EQ(norm_backward_launch(norm_layout(2048, 8, true), 32768, 2048, 3).shape.x, 6 * 132);
}

TEST_P(NormBackwardTest, GradientMayBeInPlace) {
  const ResidualNorm f = forward_case(Norm::layer, rows, 23, false, true);
  residual_norm_forward(context(), f);
  ResidualNormBackward apart = backward_case(f);
  apart.dsum_above = bench.random({rows, 23}, dtype());
  apart.dx = bench.zeros({rows, 23}, dtype());
  ResidualNormBackward together = apart;
  together.dsum = bench.holding(values(apart.dsum_above), {rows, 23}, dtype());
  together.dsum_above = together.dsum;
  together.dx = together.dsum;
  residual_norm_backward(context(), apart);
  residual_norm_backward(context(), together);
  EXPECT_EQ(values(together.dsum), values(apart.dsum));
  EXPECT_EQ(values(apart.dx), values(apart.dsum));
}

TEST_P(NormBackwardTest, WithoutNormPassesTheGradientOn) {
  ResidualNormBackward b;
  b.dsum_above = bench.random({rows, 18}, dtype());
  b.dsum = bench.zeros({rows, 18}, dtype());
  b.dbias = bench.zeros({18}, DType::f32);
  residual_norm_backward(context(), b);
  EXPECT_EQ(values(b.dsum), values(b.dsum_above));
  const Numbers d = values(b.dsum);
  Numbers columns(18, 0.0);
  for (size_t i = 0; i < d.size(); ++i) columns[i % 18] += d[i];
  expect_near(values(b.dbias), columns, 1e-6, 1e-6);
}

TEST_P(NormBackwardTest, ThreadsDoNotChangeBitsNorAllocateTwice) {
  if (device() != Device::cpu) GTEST_SKIP() << "threads are the CPU's";
  constexpr int64_t many = 333, hidden = 70;
  const ResidualNorm f = forward_case(Norm::layer, many, hidden, false, true);
  ResidualNormBackward b = backward_case(f);
  b.dy = bench.random({many, hidden}, dtype());
  b.dsum = bench.zeros({many, hidden}, dtype());
  b.dropout = some_dropout(many);
  b.dbias = bench.zeros({hidden}, DType::f32);
  const auto run = [&](int threads) {
    omp_set_num_threads(threads);
    assign(b.dweight, Numbers(hidden, 0.0));
    assign(b.dbias, Numbers(hidden, 0.0));
    residual_norm_forward(context(), f);
    residual_norm_backward(context(), b);
    Numbers all = values(b.dweight);
    for (const Tensor& t : {b.dbias, b.dsum, f.y, f.mean}) {
      const Numbers more = values(t);
      all.insert(all.end(), more.begin(), more.end());
    }
    return all;
  };
  const int threads = omp_get_max_threads();
  const Numbers one = run(1);
  const auto allocations = memory_statistics().allocations;
  EXPECT_EQ(run(3), one);
  EXPECT_EQ(run(2), one);
  EXPECT_EQ(memory_statistics().allocations, allocations);
  omp_set_num_threads(threads);
}

TEST_P(NormTest, ForwardNamesWhatIsWrong) {
  const ResidualNorm good = forward_case(Norm::layer, 3, 8, true, true);
  const auto expect = [&](const std::function<void(ResidualNorm&)>& spoil, const char* message) {
    ResidualNorm t = good;
    spoil(t);
    expect_error([&] { residual_norm_forward(context(), t); }, message);
  };
  expect([](ResidualNorm& t) { t.residual = {}; }, "residual is missing");
  expect([](ResidualNorm& t) { t.sum = {}; }, "sum is missing");
  expect([](ResidualNorm& t) { t.y = {}; }, "y is missing");
  expect([](ResidualNorm& t) { t.mean = {}; }, "mean is missing");
  expect([](ResidualNorm& t) { t.reciprocal = {}; }, "reciprocal is missing");
  expect([](ResidualNorm& t) { t.x = {}; }, "which bias is added to");
  expect([](ResidualNorm& t) { t.weight = {}; }, "weight is missing");
  expect([](ResidualNorm& t) { t.x = t.x.slice(0, 0, 2); }, "x has shape [2, 8]; [3, 8]");
  expect([](ResidualNorm& t) { t.weight = t.weight.slice(0, 0, 7); }, "weight has shape [7]");
  expect([](ResidualNorm& t) { t.mean.dtype = DType::i32; }, "mean is i32; allowed: f32");
  expect([](ResidualNorm& t) { t.residual = t.residual.view({2, 3, 4}); }, "2 axes");
  expect([](ResidualNorm& t) { t.dropout.probability = 1; }, "0 <= p < 1");
  expect([](ResidualNorm& t) { t.dropout.probability = 0.5; }, "row_ids");
}

TEST_P(NormBackwardTest, NamesWhatIsWrong) {
  const ResidualNorm f = forward_case(Norm::layer, rows, 8, false, true);
  ResidualNormBackward good = backward_case(f);
  good.dsum_above = bench.random({rows, 8}, dtype());
  const auto expect = [&](const std::function<void(ResidualNormBackward&)>& spoil,
                          const char* message) {
    ResidualNormBackward t = good;
    spoil(t);
    expect_error([&] { residual_norm_backward(context(), t); }, message);
  };
  expect([](ResidualNormBackward& t) { t.dsum = {}; }, "dsum is missing");
  expect([](ResidualNormBackward& t) { t.dy = {}; }, "dy is missing");
  expect([](ResidualNormBackward& t) { t.dweight = {}; }, "dweight is missing");
  expect([](ResidualNormBackward& t) { t.weight = {}; }, "without a norm");
  expect([](ResidualNormBackward& t) { t.dweight.dtype = DType::f64; }, "dweight is f64");
  const Dropout dropout = some_dropout(rows);
  expect(
      [&](ResidualNormBackward& t) {
        t.dropout = dropout;
        t.dx = t.dsum;
      },
      "dx is the memory of dsum");
}

INSTANTIATE_TEST_SUITE_P(All, NormTest, testing::ValuesIn(cases()), case_name);
INSTANTIATE_TEST_SUITE_P(All, NormBackwardTest, testing::ValuesIn(cases()), case_name);
INSTANTIATE_TEST_SUITE_P(All, NormSizesTest, testing::ValuesIn(cases()), case_name);

}  // namespace
}  // namespace switchyard::ops::test
