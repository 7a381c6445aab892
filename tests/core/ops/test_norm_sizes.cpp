// Norms of models' and odd sizes, and the launch shapes that they take on a GPU.
#include <algorithm>
#include <utility>

#include "core/memory.h"
#include "core/ops/norm/launch.h"
#include "tests/core/ops/norm_cases.h"

namespace switchyard::ops::test {
namespace {

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
          for (const auto& [sums, multiprocessors] :
               {std::pair{0, 132}, {1, 132}, {3, 132}, {1, 1}, {3, 114}, {2, 148}}) {
            const auto backward = norm_backward_launch(layout, rows, hidden, sums, multiprocessors);
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
  EXPECT_EQ(norm_backward_launch(norm_layout(768, 8, true), 65536, 768, 3, 132).shape.x, 132);
  EXPECT_EQ(norm_backward_launch(norm_layout(2048, 8, true), 32768, 2048, 3, 132).shape.x, 6 * 132);
}

INSTANTIATE_TEST_SUITE_P(All, NormSizesTest, testing::ValuesIn(cases()), case_name);

}  // namespace
}  // namespace switchyard::ops::test
