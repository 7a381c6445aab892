#pragma once

#include <cmath>
#include <numeric>
#include <vector>

#include "core/ops/attention/attention.h"
#include "tests/core/ops/op_test.h"

// Problems of attention, and what should come of them.
namespace switchyard::ops::test::attention_cases {

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

inline void expect_same_bits(const Outputs& a, const Outputs& b) {
  EXPECT_EQ(a.out, b.out);
  EXPECT_EQ(a.dq, b.dq);
  EXPECT_EQ(a.dk, b.dk);
  EXPECT_EQ(a.dv, b.dv);
}

// Row-major offset of channel 0 of a head's row.
inline size_t row_of(int64_t batch, int64_t row, int64_t head, int64_t rows, int64_t heads,
                     int64_t dim) {
  return static_cast<size_t>(((batch * rows + row) * heads + head) * dim);
}

inline double dot(const Values& x, size_t x_at, const Values& y, size_t y_at, int64_t count) {
  return std::inner_product(x.begin() + static_cast<ptrdiff_t>(x_at),
                            x.begin() + static_cast<ptrdiff_t>(x_at) + count,
                            y.begin() + static_cast<ptrdiff_t>(y_at), 0.0);
}

inline void add_to(Values& x, size_t x_at, double factor, const Values& y, size_t y_at,
                   int64_t count) {
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) x[x_at + i] += factor * y[y_at + i];
}

inline double mask_of(const AttentionOptions& o, int64_t batch, int64_t head, double query,
                      double key) {
  if (o.dropout == 0) return 1;
  const int64_t site = (o.first_sample + batch) * o.all_heads + o.first_head + head;
  const int64_t element =
      (site * o.sequence_length + static_cast<int64_t>(query)) * o.sequence_length +
      static_cast<int64_t>(key);
  const bool kept = o.key.word(static_cast<uint64_t>(element)) >= dropout_threshold(o.dropout);
  return kept ? 1 / (1 - o.dropout) : 0;
}

// One query of one head: its softmax over the visible keys, its output and its gradients.
inline void reference_row(const Problem& p, const AttentionOptions& o, const Inputs& in, int64_t b,
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

inline Outputs reference(const Problem& p, const AttentionOptions& o, const Inputs& in) {
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

class AttentionTest : public OpTest {};

}  // namespace switchyard::ops::test::attention_cases
