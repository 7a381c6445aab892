#include <fmt/format.h>
#include <omp.h>

#include <limits>
#include <string>
#include <utility>

#include "tests/core/ops/attention_cases.h"

namespace switchyard::ops::test::attention_cases {
namespace {

void expect_like_reference(Workbench& bench, const Problem& p, const Trial& setup) {
  setup.run(bench);
  const Outputs actual = setup.outputs();
  const Outputs expected = reference(p, setup.options, setup.inputs());
  // Sums of some hundred terms in fp32; in 16 bits the stored output enters the gradients besides.
  const bool exact = setup.t.q.dtype == DType::f32;
  const double relative = exact ? 1e-5 : rounding(setup.t.q.dtype);
  const double absolute = exact ? 1e-5 : 5.12 * rounding(setup.t.q.dtype);
  const std::string what = fmt::format("{}x{}x{} heads {}/{} dim {}", p.batch, p.queries, p.keys,
                                       p.heads, p.kv_heads, p.dim);
  expect_near(actual.out, expected.out, relative, exact ? 2e-6 : 1e-5, what + " out");
  expect_near(actual.log_sum, expected.log_sum, 1e-6, 2e-6, what + " log_sum");
  expect_near(actual.dq, expected.dq, relative, absolute, what + " dq");
  expect_near(actual.dk, expected.dk, relative, absolute, what + " dk");
  expect_near(actual.dv, expected.dv, relative, exact ? 1e-5 : 1e-5, what + " dv");
}

TEST_P(AttentionTest, OddShapes) {
  for (const Problem& p : {Problem{1, 1, 1, 1, 1, 1},
                           {2, 3, 3, 2, 2, 5},
                           {1, 64, 64, 1, 1, 64},
                           {2, 65, 65, 2, 2, 16},
                           {1, 130, 130, 3, 3, 33},
                           {1, 200, 200, 1, 1, 80},
                           {1, 70, 70, 1, 1, 130}}) {
    expect_like_reference(bench, p, Trial(bench, p, dtype()));
  }
}

TEST_P(AttentionTest, HeadSizes) {
  for (const int64_t dim : {1, 3, 8, 31, 64, 72, 80, 100, 128, 136, 256}) {
    const Problem p{1, 67, 67, 2, 1, dim};
    expect_like_reference(bench, p, Trial(bench, p, dtype()));
  }
}

TEST_P(AttentionTest, PartsOfOnePackedRow) {
  for (const Problem& p :
       {Problem{2, 66, 66, 4, 2, 64}, {2, 33, 33, 3, 1, 24}, {1, 40, 40, 2, 2, 5}}) {
    Trial setup(bench, p, dtype());
    setup.pack(bench, p);
    expect_like_reference(bench, p, setup);
  }
}

TEST_P(AttentionTest, GroupedQueries) {
  for (const Problem& p : {Problem{2, 70, 70, 6, 2, 24}, {1, 20, 20, 4, 1, 8}}) {
    expect_like_reference(bench, p, Trial(bench, p, dtype()));
  }
}

TEST_P(AttentionTest, FewQueriesOverManyKeys) {
  for (const Problem& p : {Problem{2, 1, 150, 4, 2, 32},
                           {1, 1, 64, 1, 1, 64},
                           {1, 7, 129, 2, 2, 20},
                           {1, 66, 300, 1, 1, 16}}) {
    expect_like_reference(bench, p, Trial(bench, p, dtype()));
  }
}

TEST_P(AttentionTest, Dropout) {
  for (const Problem& p : {Problem{2, 70, 70, 4, 2, 16, 0.1}, {1, 5, 131, 2, 2, 8, 0.5}}) {
    expect_like_reference(bench, p, Trial(bench, p, dtype()));
  }
}

// Two stretches of the sequence on one rank, as context parallelism deals them.
TEST_P(AttentionTest, PositionsWithGaps) {
  const Problem p{1, 80, 80, 2, 2, 16, 0.2};
  Trial setup(bench, p, dtype());
  Values positions(80);
  for (size_t i = 0; i < 80; ++i) positions[i] = static_cast<double>(i < 37 ? i : 3 * i);
  setup.options.query_positions = bench.holding(positions, {80}, DType::i32);
  for (size_t i = 0; i < 80; ++i) positions[i] = static_cast<double>(i < 70 ? 10 + i : 90 + i);
  setup.options.key_positions = bench.holding(positions, {80}, DType::i32);
  setup.options.sequence_length = 300;
  setup.run(bench);
  const Values out = values(setup.t.out), log_sum = values(setup.t.log_sum);
  for (size_t i = 0; i < 10 * 2 * 16; ++i) ASSERT_EQ(out[i], 0) << "a query before every key";
  EXPECT_EQ(log_sum[0], -std::numeric_limits<double>::infinity());
  const Outputs expected = reference(p, setup.options, setup.inputs());
  const double rounded = 2.02 * rounding(dtype());
  expect_near(out, expected.out, rounded + 1e-5, 2e-6, "out");
  expect_near(values(setup.t.dq), expected.dq, rounded + 1e-5,
              dtype() == DType::f32 ? 1e-5 : 5.12 * rounding(dtype()), "dq");
}

TEST_P(AttentionTest, LargeScoresStayFinite) {
  const Problem p{1, 100, 100, 1, 1, 16};
  Trial setup(bench, p, dtype());
  setup.options.scale = 40;
  setup.run(bench);
  for (const double x : values(setup.t.out)) ASSERT_TRUE(std::isfinite(x));
  for (const double x : values(setup.t.dk)) ASSERT_TRUE(std::isfinite(x));
}

// With values that are unit vectors the output shows the weights themselves: dropped ones are 0.
TEST_P(AttentionTest, DropsExactlyTheElementsOfTheGenerator) {
  const Problem p{2, 90, 90, 2, 2, 90, 0.3};
  Trial setup(bench, p, dtype());
  Values unit(static_cast<size_t>(setup.t.v.elements()));
  for (int64_t b = 0; b < p.batch; ++b) {
    for (int64_t j = 0; j < p.keys; ++j) {
      for (int64_t h = 0; h < p.heads; ++h) {
        unit[row_of(b, j, h, p.keys, p.heads, p.dim) + static_cast<size_t>(j)] = 1;
      }
    }
  }
  assign(setup.t.v, unit);
  setup.run(bench);
  const Values out = values(setup.t.out);
  for (int64_t b = 0; b < p.batch; ++b) {
    for (int64_t i = 0; i < p.queries; ++i) {
      for (int64_t h = 0; h < p.heads; ++h) {
        const size_t at = row_of(b, i, h, p.queries, p.heads, p.dim);
        for (int64_t j = 0; j <= i; ++j) {
          const double mask =
              mask_of(setup.options, b, h, static_cast<double>(i), static_cast<double>(j));
          ASSERT_EQ(out[at + static_cast<size_t>(j)] != 0, mask != 0) << b << i << h << j;
        }
      }
    }
  }
}

TEST_P(AttentionTest, ThreadsChangeNoBit) {
  const Problem p{2, 150, 150, 4, 2, 32, 0.1};
  const Trial setup(bench, p, dtype());
  const int before = omp_get_max_threads();
  std::vector<Outputs> results;
  for (const int threads : {1, 2, 5}) {
    omp_set_num_threads(threads);
    setup.run(bench);
    results.push_back(setup.outputs());
  }
  omp_set_num_threads(before);
  for (const Outputs& result : results) {
    EXPECT_EQ(result.out, results[0].out);
    EXPECT_EQ(result.log_sum, results[0].log_sum);
    EXPECT_EQ(result.dq, results[0].dq);
    EXPECT_EQ(result.dk, results[0].dk);
    EXPECT_EQ(result.dv, results[0].dv);
  }
}

TEST_P(AttentionTest, RepeatedCallsAllocateNothing) {
  const Problem p{1, 150, 150, 4, 2, 64};
  const Trial setup(bench, p, dtype());
  setup.run(bench);
  setup.run(bench);
  const auto allocations = memory_statistics().allocations;
  setup.run(bench);
  EXPECT_EQ(memory_statistics().allocations, allocations);
}

TEST_P(AttentionTest, NamesWhatDoesNotFit) {
  const Problem p{1, 4, 4, 4, 2, 8};
  const Trial good(bench, p, dtype());
  const auto expect_refusal = [&](const std::string& part, auto change) {
    Trial setup = good;
    change(setup);
    expect_error([&] { setup.run(bench); }, part);
  };
  expect_refusal("4 heads of queries over 3 heads", [&](Trial& s) {
    s.t.k = s.t.v = bench.zeros({1, 4, 3, 8}, dtype());
  });
  expect_refusal("v has shape [1, 5, 2, 8]; [1, 4, 2, 8]", [&](Trial& s) {
    s.t.v = bench.zeros({1, 5, 2, 8}, dtype());
  });
  expect_refusal("log_sum has shape [1, 4, 5]", [&](Trial& s) {
    s.t.log_sum = bench.zeros({1, 4, 5}, DType::f32);
  });
  expect_refusal("dk is f64", [&](Trial& s) { s.t.dk = bench.zeros({1, 4, 2, 8}, DType::f64); });
  expect_refusal("key_positions has shape [3]",
                 [&](Trial& s) { s.options.key_positions = Trial::counting(bench, 0, 3); });
  expect_refusal("a dropout of 1", [](Trial& s) { s.options.dropout = 1; });
  expect_refusal("all_heads = 5", [](Trial& s) {
    s.options.dropout = 0.1;
    s.options.all_heads = 5;
  });
  if (device() != Device::cpu) return;  // positions on a GPU are not read by the host
  expect_refusal("query_positions are not ascending", [&](Trial& s) {
    s.options.query_positions = bench.holding({0, 2, 1, 3}, {4}, DType::i32);
  });
  expect_refusal("sequence_length - 1 = 2", [](Trial& s) {
    s.options.dropout = 0.1;
    s.options.sequence_length = 3;
  });
}

// On a GPU the step of the generator may be read from its memory.
TEST_P(AttentionTest, TheStepMayLieOnTheDevice) {
  if (device() == Device::cpu) GTEST_SKIP() << "for launches on a GPU";
  const Problem p{1, 70, 70, 2, 2, 16, 0.4};
  Trial setup(bench, p, dtype());
  const Tensor step = bench.holding({static_cast<double>(setup.options.key.step)}, {1}, DType::i32);
  setup.run(bench);
  const Outputs expected = setup.outputs();
  setup.options.key.step = 12345;
  setup.options.key.step_on_device = static_cast<const uint32_t*>(step.data);
  setup.run(bench);
  const Outputs actual = setup.outputs();
  expect_same_bits(actual, expected);
}

TEST_P(AttentionTest, RefusesLargeHeadsOnAGpu) {
  if (device() == Device::cpu) GTEST_SKIP() << "the CPU takes every head size";
  const Problem p{1, 4, 4, 1, 1, 257};
  const Trial setup(bench, p, dtype());
  expect_error([&] { setup.run(bench); }, "a head_dim of 257 on a GPU; 1 to 256");
}

INSTANTIATE_TEST_SUITE_P(All, AttentionTest, testing::ValuesIn(cases()), case_name);

// The reference's own gradients, which all devices are held against, by central differences.
TEST(AttentionReference, GradientsAreThoseOfTheOutput) {
  Workbench bench;
  const Problem p{1, 5, 7, 4, 2, 3, 0.25};
  const Trial setup(bench, p, DType::f32);
  Inputs in = setup.inputs();
  const Outputs r = reference(p, setup.options, in);
  const auto loss = [&] {
    const Outputs moved = reference(p, setup.options, in);
    return dot(moved.out, 0, in.dout, 0, static_cast<int64_t>(in.dout.size()));
  };
  for (const auto& [x, gradient] : {std::pair{&in.q, &r.dq}, {&in.k, &r.dk}, {&in.v, &r.dv}}) {
    for (size_t i = 0; i < x->size(); ++i) {
      const double value = (*x)[i], step = 1e-5;
      (*x)[i] = value + step;
      const double above = loss();
      (*x)[i] = value - step;
      const double below = loss();
      (*x)[i] = value;
      ASSERT_NEAR((above - below) / (2 * step), (*gradient)[i], 1e-8);
    }
  }
}

}  // namespace
}  // namespace switchyard::ops::test::attention_cases
