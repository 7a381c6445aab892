#include "core/ops/rotary.h"

#include <omp.h>

#include "tests/core/ops/op_test.h"

namespace switchyard::ops::test {
namespace {

constexpr double base = 10000;

// x [batch, length, heads, head_dim] rotated by the angles of its positions, in float64.
std::vector<double> reference(const Tensor& like, std::vector<double> x,
                              const std::vector<double>& positions, int64_t rotary_dim,
                              bool inverse) {
  const int64_t dim = like.shape[3];
  const int64_t half = rotary_dim / 2;
  for (size_t row = 0; row < x.size() / static_cast<size_t>(dim); ++row) {
    const size_t token = row / static_cast<size_t>(like.shape[2]);
    const double position = positions[token % positions.size()];
    double* head = &x[row * static_cast<size_t>(dim)];
    for (int64_t i = 0; i < half; ++i) {
      const double angle =
          (inverse ? -1 : 1) * position *
          std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim));
      const double lower = head[i];
      const double upper = head[i + half];
      head[i] = lower * std::cos(angle) - upper * std::sin(angle);
      head[i + half] = upper * std::cos(angle) + lower * std::sin(angle);
    }
  }
  return x;
}

class RotaryTest : public OpTest {
 protected:
  Tensor table(int64_t positions, int64_t rotary_dim) {
    const Tensor t = bench.zeros({positions, rotary_dim / 2, 2}, DType::f32);
    rotary_table(t, rotary_frequencies(rotary_dim, base));
    return t;
  }
};

TEST_P(RotaryTest, TableHoldsCosineAndSine) {
  const std::vector<double> t = values(table(5000, 10));
  for (const size_t position : {size_t{0}, size_t{1}, size_t{4999}}) {
    for (size_t i = 0; i < 5; ++i) {
      const double angle =
          static_cast<double>(position) * std::pow(base, -2.0 * static_cast<double>(i) / 10);
      EXPECT_NEAR(t[(position * 5 + i) * 2], std::cos(angle), 6e-8);
      EXPECT_NEAR(t[(position * 5 + i) * 2 + 1], std::sin(angle), 6e-8);
    }
  }
}

TEST_P(RotaryTest, RotatesAndRotatesBack) {
  struct Sizes {
    int64_t head_dim, rotary_dim;
  };
  for (const Sizes s : {Sizes{2, 2}, {6, 6}, {64, 64}, {80, 20}, {50, 34}, {128, 128}}) {
    const Tensor x = bench.random({2, 3, 5, s.head_dim}, dtype());
    const Tensor positions = bench.holding({7, 0, 1000}, {3}, DType::i32);
    const Tensor angles = table(1001, s.rotary_dim);
    for (const bool inverse : {false, true}) {
      const auto wanted = reference(x, values(x), values(positions), s.rotary_dim, inverse);
      rotary(context(), x, angles, positions, inverse);
      bench.wait();
      expect_near(values(x), wanted, rounding(dtype()), 6e-7,
                  "head_dim " + std::to_string(s.head_dim));
    }
  }
}

// A rotation's gradient is the rotation back: <dy, R x> = <R^-1 dy, x>.
TEST_P(RotaryTest, InverseIsTheBackwardPass) {
  const Tensor x = bench.random({1, 4, 3, 24}, dtype());
  const Tensor dy = bench.random({1, 4, 3, 24}, dtype());
  const Tensor positions = bench.holding({3, 1, 4, 1}, {4}, DType::i32);
  const Tensor angles = table(5, 16);
  const auto dot = [](const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
  };
  const auto x_before = values(x);
  const auto dy_before = values(dy);
  rotary(context(), x, angles, positions, false);
  rotary(context(), dy, angles, positions, true);
  bench.wait();
  const double size = std::sqrt(dot(x_before, x_before) * dot(dy_before, dy_before));
  EXPECT_NEAR(dot(values(x), dy_before), dot(x_before, values(dy)), 2 * rounding(dtype()) * size);
}

// Queries and keys lie side by side in one row of [batch, length, (q, k, v)]: only q may change.
TEST_P(RotaryTest, HeadsMayBeStrided) {
  const Tensor rows = bench.random({2, 3, 9, 12}, dtype());
  const Tensor q = rows.slice(2, 0, 4);
  const Tensor k = rows.slice(2, 4, 6);
  const Tensor v = rows.slice(2, 6, 9);
  const Tensor positions = bench.holding({2, 0, 1}, {3}, DType::i32);
  const auto wanted = reference(q, values(q), values(positions), 10, false);
  const auto k_before = values(k);
  const auto v_before = values(v);
  rotary(context(), q, table(3, 10), positions, false);
  bench.wait();
  expect_near(values(q), wanted, rounding(dtype()), 5e-7);
  EXPECT_EQ(values(k), k_before);
  EXPECT_EQ(values(v), v_before);
}

// Its address is a multiple of a pair's size, not of a GPU's widest access.
TEST_P(RotaryTest, TheTableMayBeginAnywhere) {
  const Tensor angles = table(3, 64);
  const Tensor memory = bench.zeros({2 + angles.elements()}, DType::f32);
  const Tensor elsewhere = memory.slice(0, 2, memory.shape[0]).view(angles.shape);
  assign(elsewhere, values(angles));
  const Tensor x = bench.random({1, 3, 2, 64}, dtype());
  const Tensor y = bench.holding(values(x), x.shape, dtype());
  const Tensor positions = bench.holding({2, 0, 1}, {3}, DType::i32);
  rotary(context(), x, angles, positions, false);
  rotary(context(), y, elsewhere, positions, false);
  bench.wait();
  EXPECT_EQ(values(x), values(y));
}

TEST_P(RotaryTest, ThreadsDoNotChangeBits) {
  const Tensor x = bench.random({3, 33, 2, 22}, dtype());
  const Tensor y = bench.holding(values(x), x.shape, dtype());
  std::vector<double> places(33);
  for (size_t i = 0; i < places.size(); ++i) places[i] = static_cast<double>(i);
  const Tensor positions = bench.holding(places, {33}, DType::i32);
  const Tensor angles = table(33, 22);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  rotary(context(), x, angles, positions, false);
  omp_set_num_threads(3);
  rotary(context(), y, angles, positions, false);
  omp_set_num_threads(threads);
  bench.wait();
  EXPECT_EQ(values(x), values(y));
}

TEST_P(RotaryTest, ErrorsNameWhatWasGiven) {
  const auto& c = context();
  const Tensor x = bench.zeros({1, 2, 1, 8}, dtype());
  const Tensor angles = table(4, 8);
  const Tensor wide = table(4, 10);
  const Tensor inside = bench.holding({0, 3}, {2}, DType::i32);
  const Tensor beyond = bench.holding({0, 4}, {2}, DType::i32);
  const Tensor three = bench.zeros({3}, DType::i32);
  if (device() == Device::cpu) {
    expect_error([&] { rotary(c, x, angles, beyond, false); }, "position 4 was given");
  } else {
    const Tensor y = bench.zeros({1, 2, 1, 8}, dtype());
    rotary(c, y, angles, beyond, false);
    for (const double v : values(y.slice(1, 0, 1))) EXPECT_EQ(v, 0);
    for (const double v : values(y.slice(1, 1, 2))) EXPECT_TRUE(std::isnan(v));
  }
  expect_error([&] { rotary(c, x, wide, inside, false); }, "rotates 10 channels");
  expect_error([&] { rotary(c, x, angles, three, false); }, "positions has shape [3]");
  expect_error([&] { rotary_table(angles, rotary_frequencies(6, base)); }, "[4, 3, 2] is allowed");
}

// _compute_llama3_parameters of transformers 5.24.0 (fp32), with the head_dim, rope_theta and
// rope_scaling named here.
TEST(RotaryFrequencies, AreScaledAsInLlama3) {
  const std::vector<double> llama_3_2_1b = {// 64, 500000; factor 32, 1, 4, 8192
                                            1,
                                            0.663601279,
                                            0.440366626,
                                            0.292227834,
                                            0.193922758,
                                            0.128687382,
                                            0.0853971019,
                                            0.0566696189,
                                            0.0376060307,
                                            0.0249554086,
                                            0.0165604409,
                                            0.0109895291,
                                            0.00729266508,
                                            0.00483942125,
                                            0.00321144611,
                                            0.00129054801,
                                            0.000429556705,
                                            9.70828623e-05,
                                            1.94616387e-05,
                                            1.29147675e-05,
                                            8.57025589e-06,
                                            5.68723226e-06,
                                            3.77405445e-06,
                                            2.50446715e-06,
                                            1.66196742e-06,
                                            1.10288363e-06,
                                            7.31874934e-07,
                                            4.85673127e-07,
                                            3.22293289e-07,
                                            2.1387423e-07,
                                            1.41927202e-07,
                                            9.41830649e-08};
  const std::vector<double> other = {// 20, 10000; factor 8, 1.5, 6, 64
                                     1,
                                     0.247551918,
                                     0.023335401,
                                     0.00788696576,
                                     0.0031398579,
                                     0.00124999997,
                                     0.000497633824,
                                     0.000198111666,
                                     7.88696634e-05,
                                     3.13985875e-05};
  const auto expect_equal = [](const std::vector<double>& ours, const std::vector<double>& theirs) {
    ASSERT_EQ(ours.size(), theirs.size());
    for (size_t i = 0; i < ours.size(); ++i) EXPECT_NEAR(ours[i] / theirs[i], 1, 2e-6) << i;
  };
  expect_equal(rotary_frequencies(64, 500000, RotaryScaling{.factor = 32}), llama_3_2_1b);
  expect_equal(
      rotary_frequencies(
          20, base,
          RotaryScaling{
              .factor = 8, .low_frequency = 1.5, .high_frequency = 6, .original_positions = 64}),
      other);
}

TEST(RotaryFrequencies, ErrorsNameWhatWasGiven) {
  expect_error([&] { rotary_frequencies(7, base); }, "rotary_dim 7");
  expect_error([&] { rotary_frequencies(8, 0); }, "base 0");
  expect_error([&] { rotary_frequencies(8, base, RotaryScaling{.factor = 0.5}); }, "by 0.5");
  expect_error([&] { rotary_frequencies(8, base, RotaryScaling{.low_frequency = 4}); }, "low 4");
}

INSTANTIATE_TEST_SUITE_P(All, RotaryTest, testing::ValuesIn(cases()), case_name);

}  // namespace
}  // namespace switchyard::ops::test
