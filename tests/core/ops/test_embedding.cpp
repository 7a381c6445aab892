#include "core/ops/embedding.h"

#include <omp.h>

#include <functional>
#include <tuple>

#include "core/ops/elementwise.h"
#include "tests/core/ops/op_test.h"

namespace switchyard::ops::test {
namespace {

const std::vector<double> tokens{4, 0, 9, 4, 4, 2, 9, 7, 3};

class EmbeddingTest : public OpTest {
 protected:
  Tensor ids() { return bench.holding(tokens, {9}, DType::i32); }
};

TEST_P(EmbeddingTest, PartsOfTheTableAddUpToTheWhole) {
  for (const int64_t hidden : {1, 13, 64, 101}) {
    const Tensor table = bench.random({10, hidden}, dtype());
    const std::vector<double> rows = values(table);
    std::vector<double> sum(tokens.size() * static_cast<size_t>(hidden));
    for (const auto& [begin, end] : {std::pair{0, 3}, {3, 4}, {4, 10}}) {
      const Tensor y = bench.random({9, hidden}, dtype());  // zeros must be written, too
      embedding_forward(context(), ids(), table.slice(0, begin, end), begin, y);
      bench.wait();
      const std::vector<double> part = values(y);
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += part[i];
    }
    std::vector<double> wanted;
    for (const double token : tokens) {
      const auto row = rows.begin() + static_cast<int64_t>(token) * hidden;
      wanted.insert(wanted.end(), row, row + hidden);
    }
    EXPECT_EQ(sum, wanted);
  }
}

TEST_P(EmbeddingTest, BackwardAddsEveryTokenToItsRow) {
  for (const int64_t hidden : {1, 13, 64, 101}) {
    for (const auto& [begin, end] : {std::pair{0, 10}, {0, 3}, {4, 10}}) {
      const Tensor dy = bench.random({9, hidden}, dtype());
      const Tensor dtable = bench.random({end - begin, hidden}, DType::f32);
      std::vector<double> wanted = values(dtable);
      const std::vector<double> gradient = values(dy);
      const auto width = static_cast<size_t>(hidden);
      for (size_t t = 0; t < tokens.size(); ++t) {
        const auto row = static_cast<int64_t>(tokens[t]) - begin;
        if (row < 0 || row >= end - begin) continue;
        for (size_t i = 0; i < width; ++i) {
          wanted[static_cast<size_t>(row) * width + i] += gradient[t * width + i];
        }
      }
      embedding_backward(context(), ids(), dy, begin, dtable);
      bench.wait();
      expect_near(values(dtable), wanted, 1e-6, 1e-6);
    }
  }
}

struct Frequencies {
  std::string name;
  int64_t count, rows;
  std::function<int64_t(int64_t)> token;  // of a place
};

// Thousands of tokens: all equal, each its own, most equal, in no order; small and large tables.
std::vector<Frequencies> frequencies() {
  const auto scattered = [](int64_t i) { return static_cast<int64_t>(uint32_t(i) * 2654435761u); };
  return {
      {"equal", 3000, 300, [](int64_t) { return 17; }},
      {"own", 1025, 2000, [](int64_t i) { return 1024 - i; }},
      {"most equal", 2500, 300, [=](int64_t i) { return i % 3 == 0 ? scattered(i) % 300 : 299; }},
      {"few", 3001, 5, [=](int64_t i) { return scattered(i) >> 7 & 3; }},
      {"large table", 2049, 70000, [=](int64_t i) { return scattered(i) % 70000; }}};
}

TEST_P(EmbeddingTest, BackwardOfManyTokens) {
  for (const Frequencies& f : frequencies()) {
    const int64_t hidden = f.rows * f.count > 1000000 ? 8 : 24;
    std::vector<double> picked;
    for (int64_t i = 0; i < f.count; ++i) picked.push_back(static_cast<double>(f.token(i)));
    const Tensor many = bench.holding(picked, {f.count}, DType::i32);
    const Tensor dy = bench.random({f.count, hidden}, dtype());
    std::vector<double> wanted(static_cast<size_t>(f.rows * hidden), 1.0);
    std::vector<double> magnitude(wanted.size(), 1.0);
    const auto gradient = values(dy);
    for (size_t i = 0; i < gradient.size(); ++i) {
      const size_t token = i / static_cast<size_t>(hidden),
                   column = i % static_cast<size_t>(hidden);
      const size_t to = static_cast<size_t>(picked[token]) * static_cast<size_t>(hidden) + column;
      wanted[to] += gradient[i];
      magnitude[to] += std::abs(gradient[i]);
    }
    const auto run = [&](int64_t begin, int64_t end) {
      const Tensor dtable = bench.zeros({end - begin, hidden}, DType::f32);
      fill(context(), dtable, 1);
      embedding_backward(context(), many, dy, begin, dtable);
      return values(dtable);
    };
    const auto whole = run(0, f.rows);
    for (size_t i = 0; i < wanted.size(); ++i) {
      ASSERT_NEAR(whole[i], wanted[i], 2e-6 * magnitude[i]) << f.name << " element " << i;
    }
    EXPECT_EQ(run(0, f.rows), whole) << f.name << ": the same bits twice";
    // The table split over two ranks.
    auto parts = run(0, f.rows / 3);
    for (const double v : run(f.rows / 3, f.rows)) parts.push_back(v);
    for (size_t i = 0; i < wanted.size(); ++i) {
      ASSERT_NEAR(parts[i], wanted[i], 2e-6 * magnitude[i]) << f.name << " part " << i;
    }
  }
}

TEST_P(EmbeddingTest, BackwardAllocatesOnce) {
  const Tensor dy = bench.random({9, 16}, dtype());
  const Tensor dtable = bench.zeros({10, 16}, DType::f32);
  const Tensor t = ids();
  embedding_backward(context(), t, dy, 0, dtable);
  const auto allocations = memory_statistics().allocations;
  embedding_backward(context(), t, dy, 0, dtable);
  EXPECT_EQ(memory_statistics().allocations, allocations);
}

// Samples behind one another, from any place of the first one to any of the last. Gradients are
// added in the order of rows, in fp32: no tolerance.
TEST_P(EmbeddingTest, PositionsGoRoundTheTable) {
  for (const int64_t hidden : {1, 13, 24, 101}) {
    for (const auto& [positions, first, rows] :
         {std::tuple{7, 0, 7}, {7, 0, 65}, {7, 12, 30}, {7, 3, 2}, {1, 5, 9}, {7, 0, 0}}) {
      const Tensor table = bench.strided({positions, hidden}, dtype(), hidden == 24 ? 8 : 3);
      const Tensor x = bench.strided({rows, hidden}, dtype(), hidden == 24 ? 16 : 5);
      const Tensor dtable = bench.random({positions, hidden}, DType::f32);
      for (const Tensor& t : {table, x}) bench.randomize(t);
      std::vector<double> sums = values(x), gradient = values(dtable);
      const auto of_table = values(table), dx = sums;
      for (int64_t i = 0; i < rows * hidden; ++i) {
        const auto at = static_cast<size_t>((first + i / hidden) % positions * hidden + i % hidden);
        const auto from = static_cast<size_t>(i);
        sums[from] += of_table[at];
        gradient[at] = static_cast<float>(gradient[at]) + static_cast<float>(dx[from]);
      }
      position_embedding_backward(context(), x, first, dtable);
      EXPECT_EQ(values(dtable), gradient) << hidden << " " << positions << " " << rows;
      position_embedding_forward(context(), table, first, x);
      expect_near(values(x), sums, rounding(dtype()), 1e-6);
    }
  }
}

TEST_P(EmbeddingTest, RowsMayBeStrided) {
  const Tensor table = bench.strided({10, 18}, dtype(), 3);
  const Tensor y = bench.strided({9, 18}, dtype(), 5);
  bench.randomize(table);
  embedding_forward(context(), ids(), table, 0, y);
  bench.wait();
  for (int64_t t = 0; t < 9; ++t) {
    const auto row = static_cast<int64_t>(tokens[static_cast<size_t>(t)]);
    EXPECT_EQ(values(y.slice(0, t, t + 1)), values(table.slice(0, row, row + 1)));
  }
  const Tensor dtable = bench.strided({10, 18}, DType::f32, 7);
  const Tensor dense = bench.zeros({10, 18}, DType::f32);
  embedding_backward(context(), ids(), y, 0, dtable);
  embedding_backward(context(), ids(), y, 0, dense);
  bench.wait();
  EXPECT_EQ(values(dtable), values(dense));
}

TEST_P(EmbeddingTest, ThreadsDoNotChangeBits) {
  const Tensor many = bench.zeros({500}, DType::i32);
  std::vector<double> picked(500);
  for (size_t i = 0; i < picked.size(); ++i) picked[i] = static_cast<double>(i * i % 23);
  assign(many, picked);
  const Tensor dy = bench.random({500, 83}, dtype());
  const Tensor one = bench.zeros({23, 83}, DType::f32);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  embedding_backward(context(), many, dy, 0, one);
  for (const int count : {2, 3, 5, 16}) {
    const Tensor other = bench.zeros({23, 83}, DType::f32);
    omp_set_num_threads(count);
    embedding_backward(context(), many, dy, 0, other);
    bench.wait();
    EXPECT_EQ(values(one), values(other)) << count << " threads";
  }
  omp_set_num_threads(threads);
}

TEST_P(EmbeddingTest, ErrorsNameWhatWasGiven) {
  const auto& c = context();
  const Tensor table = bench.zeros({10, 8}, dtype());
  const Tensor y = bench.zeros({9, 7}, dtype());
  const Tensor half = bench.zeros({10, 8}, DType::bf16);
  expect_error([&] { embedding_forward(c, ids(), table, 0, y); }, "y has shape [9, 7]; [9, 8]");
  expect_error([&] { embedding_forward(c, table, table, 0, y); }, "ids has shape [10, 8]");
  expect_error([&] { embedding_forward(c, ids(), table, -1, y); }, "first_row -1");
  expect_error([&] { embedding_backward(c, ids(), y, 0, half); }, "dtable is bf16");
  expect_error([&] { position_embedding_forward(c, table, 0, y); }, "x has shape [9, 7]; [9, 8]");
  expect_error([&] { position_embedding_forward(c, table, -1, table); }, "first -1 of 10");
  expect_error([&] { position_embedding_backward(c, table, 0, half); }, "dtable is bf16");
}

INSTANTIATE_TEST_SUITE_P(All, EmbeddingTest, testing::ValuesIn(cases()), case_name);

}  // namespace
}  // namespace switchyard::ops::test
