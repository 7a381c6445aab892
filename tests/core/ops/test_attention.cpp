#include "core/ops/attention/attention.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "tests/core/ops/op_test.h"

namespace switchyard::ops::test {
namespace {

struct Problem {
  int64_t batch, queries, keys, heads, kv_heads, dim;
  double dropout = 0.0;
};

using Values = std::vector<double>;

struct Inputs {
  Values q, k, v, dout, query_positions, key_positions;
};

struct Outputs {
  Values out, log_sum, dq, dk, dv;
};

void expect_same_bits(const Outputs& a, const Outputs& b) {
  EXPECT_EQ(a.out, b.out);
  EXPECT_EQ(a.dq, b.dq);
  EXPECT_EQ(a.dk, b.dk);
  EXPECT_EQ(a.dv, b.dv);
}

// Row-major offset of channel 0 of a head's row.
size_t row_of(int64_t batch, int64_t row, int64_t head, int64_t rows, int64_t heads, int64_t dim) {
  return static_cast<size_t>(((batch * rows + row) * heads + head) * dim);
}

double dot(const Values& x, size_t x_at, const Values& y, size_t y_at, int64_t count) {
  return std::inner_product(x.begin() + static_cast<ptrdiff_t>(x_at),
                            x.begin() + static_cast<ptrdiff_t>(x_at) + count,
                            y.begin() + static_cast<ptrdiff_t>(y_at), 0.0);
}

void add_to(Values& x, size_t x_at, double factor, const Values& y, size_t y_at, int64_t count) {
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) x[x_at + i] += factor * y[y_at + i];
}

double mask_of(const AttentionOptions& o, int64_t batch, int64_t head, double query, double key) {
  if (o.dropout == 0) return 1;
  const int64_t site = (o.first_sample + batch) * o.all_heads + o.first_head + head;
  const int64_t element =
      (site * o.sequence_length + static_cast<int64_t>(query)) * o.sequence_length +
      static_cast<int64_t>(key);
  const bool kept = o.key.word(static_cast<uint64_t>(element)) >= dropout_threshold(o.dropout);
  return kept ? 1 / (1 - o.dropout) : 0;
}

// One query of one head: its softmax over the visible keys, its output and its gradients.
void reference_row(const Problem& p, const AttentionOptions& o, const Inputs& in, int64_t b,
                   int64_t h, int64_t i, Outputs& r) {
  const int64_t kv_head = h / (p.heads / p.kv_heads);
  const size_t at = row_of(b, i, h, p.queries, p.heads, p.dim);
  const auto key_at = [&](int64_t j) { return row_of(b, j, kv_head, p.keys, p.kv_heads, p.dim); };
  const double position = in.query_positions[static_cast<size_t>(i)];
  Values weight(static_cast<size_t>(p.keys)), mask(weight.size());
  double total = 0;
  for (size_t j = 0; j < weight.size(); ++j) {
    const double key_position = in.key_positions[j];
    mask[j] = mask_of(o, b, h, position, key_position);
    if (key_position > position) continue;
    const double score = dot(in.q, at, in.k, key_at(static_cast<int64_t>(j)), p.dim);
    total += weight[j] = std::exp(static_cast<double>(o.scale) * score);
  }
  r.log_sum[static_cast<size_t>((b * p.heads + h) * p.queries + i)] = std::log(total);
  for (size_t j = 0; j < weight.size() && total > 0; ++j) {
    weight[j] /= total;
    add_to(r.out, at, weight[j] * mask[j], in.v, key_at(static_cast<int64_t>(j)), p.dim);
  }
  const double delta = dot(in.dout, at, r.out, at, p.dim);
  for (size_t j = 0; j < weight.size(); ++j) {
    const size_t key = key_at(static_cast<int64_t>(j));
    add_to(r.dv, key, weight[j] * mask[j], in.dout, at, p.dim);
    const double dweight = mask[j] * dot(in.dout, at, in.v, key, p.dim);
    const double dscore = static_cast<double>(o.scale) * weight[j] * (dweight - delta);
    add_to(r.dq, at, dscore, in.k, key, p.dim);
    add_to(r.dk, key, dscore, in.q, at, p.dim);
  }
}

Outputs reference(const Problem& p, const AttentionOptions& o, const Inputs& in) {
  Outputs r;
  r.out.resize(in.q.size());
  r.dq.resize(in.q.size());
  r.dk.resize(in.k.size());
  r.dv.resize(in.k.size());
  r.log_sum.resize(static_cast<size_t>(p.batch * p.heads * p.queries));
  for (int64_t b = 0; b < p.batch; ++b) {
    for (int64_t h = 0; h < p.heads; ++h) {
      for (int64_t i = 0; i < p.queries; ++i) reference_row(p, o, in, b, h, i, r);
    }
  }
  return r;
}

// The tensors of one problem; q, k and v are parts of longer rows, as after a fused projection.
struct Trial {
  AttentionBackward t;
  AttentionOptions options;

  Trial(Workbench& bench, const Problem& p, DType dtype, int64_t first_query = -1) {
    const Shape q{p.batch, p.queries, p.heads, p.dim}, k{p.batch, p.keys, p.kv_heads, p.dim};
    t.q = bench.strided(q, dtype, 3);
    t.k = bench.strided(k, dtype, 1);
    t.v = bench.strided(k, dtype, 0);
    t.dout = bench.strided(q, dtype, 2);
    for (const Tensor& x : {t.q, t.k, t.v, t.dout}) bench.randomize(x);
    t.out = bench.strided(q, dtype, 5);
    t.dq = bench.strided(q, dtype, 1);
    t.dk = bench.strided(k, dtype, 2);
    t.dv = bench.strided(k, dtype, 3);
    t.log_sum = bench.zeros({p.batch, p.heads, p.queries}, DType::f32);
    for (const Tensor& x : {t.out, t.dq, t.dk, t.dv}) bench.randomize(x);
    options.scale = 1 / std::sqrt(static_cast<float>(p.dim));
    const int64_t first = first_query < 0 ? p.keys - p.queries : first_query;
    options.query_positions = counting(bench, first, p.queries);
    options.key_positions = counting(bench, 0, p.keys);
    options.dropout = p.dropout;
    options.key = {1234567890123, 7, random_purpose("layers.3.attention.dropout")};
    options.first_sample = 5;
    options.first_head = 2;
    options.all_heads = p.heads + 3;
    options.sequence_length = std::max(p.keys, first + p.queries) + 1;
  }

  // Makes q, k, v and their gradients parts of rows [batch, length, all heads], as the model does,
  // and aligns the others, too.
  void pack(Workbench& bench, const Problem& p) {
    const Shape all{p.batch, p.keys, p.heads + 2 * p.kv_heads, p.dim};
    const Tensor rows = bench.random(all, t.q.dtype), gradients = bench.random(all, t.q.dtype);
    const int64_t keys = p.heads, values = p.heads + p.kv_heads, end = values + p.kv_heads;
    t.q = rows.slice(2, 0, keys);
    t.k = rows.slice(2, keys, values);
    t.v = rows.slice(2, values, end);
    t.dq = gradients.slice(2, 0, keys);
    t.dk = gradients.slice(2, keys, values);
    t.dv = gradients.slice(2, values, end);
    t.out = bench.zeros(t.out.shape, t.q.dtype);
    t.dout = bench.random(t.dout.shape, t.q.dtype);
  }

  static Tensor counting(Workbench& bench, int64_t first, int64_t count) {
    Values positions(static_cast<size_t>(count));
    std::iota(positions.begin(), positions.end(), static_cast<double>(first));
    return bench.holding(positions, {count}, DType::i32);
  }

  void run(Workbench& bench) const {
    attention_forward(bench.context(), t.q, t.k, t.v, t.out, t.log_sum, options);
    attention_backward(bench.context(), t, options);
    bench.wait();
  }

  Inputs inputs() const {
    return {values(t.q),
            values(t.k),
            values(t.v),
            values(t.dout),
            values(options.query_positions),
            values(options.key_positions)};
  }
  Outputs outputs() const {
    return {values(t.out), values(t.log_sum), values(t.dq), values(t.dk), values(t.dv)};
  }
};

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

// As cuDNN computes, which rounds the weights to 16 bits besides.
void expect_like_rounded_reference(const Problem& p, const Trial& setup) {
  const Outputs actual = setup.outputs();
  const Outputs expected = reference(p, setup.options, setup.inputs());
  const DType dtype = setup.t.q.dtype;
  const double absolute = dtype == DType::f32 ? 1e-5 : 8 * rounding(dtype);
  const double relative = 4 * rounding(dtype) + 1e-5;
  expect_near(actual.out, expected.out, relative, absolute, "out");
  expect_near(actual.log_sum, expected.log_sum, 1e-5, dtype == DType::f32 ? 1e-5 : 1e-4, "log_sum");
  expect_near(actual.dq, expected.dq, relative, absolute, "dq");
  expect_near(actual.dk, expected.dk, relative, absolute, "dk");
  expect_near(actual.dv, expected.dv, relative, absolute, "dv");
}

struct AskForCudnn {
  AskForCudnn() { set_attention_backend(AttentionBackend::cudnn); }
  ~AskForCudnn() { set_attention_backend(AttentionBackend::automatic); }
};

class AttentionTest : public OpTest {};

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

// Sequences as in training, which cuDNN may compute.
TEST_P(AttentionTest, PositionsInOrder) {
  for (const Problem& p : {Problem{2, 128, 128, 4, 2, 64}, {1, 130, 130, 2, 2, 80}}) {
    Trial setup(bench, p, dtype());
    setup.pack(bench, p);
    setup.options.positions_in_order = true;
    prepare_attention(bench.context(), setup.t, setup.options);
    const auto allocations = memory_statistics().allocations;
    setup.run(bench);
    if (device() != Device::cpu) {
      EXPECT_EQ(memory_statistics().allocations, allocations);
    }
    expect_like_rounded_reference(p, setup);
  }
}

// Runs it by cuDNN, both passes; false where this build has none.
bool run_by_cudnn(Workbench& bench, const Trial& setup) {
  const AskForCudnn asked;
  try {
    setup.run(bench);
  } catch (const Error& error) {
    const std::string what = error.what();
    if (what.find("this build has no attention by cuDNN") == std::string::npos) throw;
    return false;
  }
  return true;
}

// As the model calls it; lengths of whole tiles, of half ones and odd ones.
TEST_P(AttentionTest, CudnnEqualsTheFormula) {
  if (device() == Device::cpu || dtype() == DType::f32) GTEST_SKIP() << "not for cuDNN";
  for (const Problem& p : {Problem{2, 128, 128, 4, 4, 64},
                           {2, 128, 128, 6, 2, 128},
                           {1, 192, 192, 4, 1, 64},
                           {1, 77, 77, 3, 3, 80},
                           {3, 33, 33, 1, 1, 256},
                           {1, 2, 2, 1, 1, 8}}) {
    Trial setup(bench, p, dtype());
    setup.pack(bench, p);
    setup.options.positions_in_order = true;
    if (!run_by_cudnn(bench, setup)) GTEST_SKIP() << "no cuDNN in this build";
    SCOPED_TRACE(
        fmt::format("{} x {} heads {}/{} dim {}", p.batch, p.keys, p.heads, p.kv_heads, p.dim));
    expect_like_rounded_reference(p, setup);
    const Outputs first = setup.outputs();
    ASSERT_TRUE(run_by_cudnn(bench, setup));
    expect_same_bits(first, setup.outputs());
  }
}

TEST_P(AttentionTest, CudnnTakesOurMask) {
  if (device() == Device::cpu || dtype() == DType::f32) GTEST_SKIP() << "not for cuDNN";
  for (const Problem& p : {Problem{2, 128, 128, 4, 2, 64, 0.25}, {2, 77, 77, 3, 3, 64, 0.25}}) {
    for (const int64_t mask_bytes : {int64_t{1}, int64_t{256} << 20}) {
      Trial setup(bench, p, dtype());
      setup.pack(bench, p);
      setup.options.positions_in_order = true;
      setup.options.sequence_length = p.keys;
      setup.options.mask_bytes = mask_bytes;
      if (!run_by_cudnn(bench, setup)) GTEST_SKIP() << "no cuDNN in this build";
      SCOPED_TRACE(fmt::format("{} positions, {} bytes for masks", p.keys, mask_bytes));
      expect_like_rounded_reference(p, setup);
    }
  }
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
}  // namespace switchyard::ops::test
