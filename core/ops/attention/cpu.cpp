#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/ops/attention/cpu.cpp"
#include "core/ops/highway.h"
// Keep this order.
#include <hwy/foreach_target.h>

#include <cmath>

#include "core/ops/attention/tile-inl.h"
#include "core/ops/vector_math-inl.h"

#ifndef SWITCHYARD_CORE_OPS_ATTENTION_FORWARD
#define SWITCHYARD_CORE_OPS_ATTENTION_FORWARD
namespace switchyard::ops {
struct AttentionForward {
  const Tensor &q, &k, &v, &out, &log_sum;
  const AttentionOptions& options;
};
struct ForwardTask {
  int64_t batch, head, first_query;
};
}  // namespace switchyard::ops
#endif

HWY_BEFORE_NAMESPACE();
namespace switchyard::ops {
namespace HWY_NAMESPACE {
namespace {

struct ForwardTiles {
  float *queries, *keys, *values, *sums;  // [tile, pad(head_dim)]
  float* queries_t;                       // [head_dim, tile]
  float *scores, *mask;                   // [keys, queries]
  float *most, *total, *factor;           // [queries]: maximum, sum of exponentials, rescaling

  ForwardTiles(FloatStack stack, int64_t head_dim) {
    const int64_t rows = attention_tile * pad(head_dim);
    for (float** piece : {&queries, &keys, &values, &sums}) *piece = stack.take(rows);
    queries_t = stack.take(head_dim * attention_tile);
    for (float** piece : {&scores, &mask}) *piece = stack.take(attention_tile * attention_tile);
    for (float** piece : {&most, &total, &factor}) *piece = stack.take(attention_tile);
  }
};

// Turns scores into exp(score - maximum so far) and says by what earlier sums have to be scaled.
void softmax_tile(int64_t queries, int64_t keys, const ForwardTiles& tiles) {
  for (int64_t i = 0; i < queries; i += static_cast<int64_t>(lanes())) {
    const Float before = load(tiles.most + i, All());
    Float most = before;
    for (int64_t j = 0; j < keys; ++j) {
      most = hn::Max(most, load(tiles.scores + j * attention_tile + i, All()));
    }
    Float sum = zero();
    for (int64_t j = 0; j < keys; ++j) {
      float* at = tiles.scores + j * attention_tile + i;
      const Float weight = exponential(hn::Sub(load(at, All()), most));
      sum = hn::Add(sum, weight);
      store(weight, at, All());
    }
    const Float factor = exponential(hn::Sub(before, most));
    store(most, tiles.most + i, All());
    store(factor, tiles.factor + i, All());
    store(hn::MulAdd(load(tiles.total + i, All()), factor, sum), tiles.total + i, All());
  }
}

void scale_rows(const float* factors, int64_t rows, int64_t columns, float* x) {
  for (int64_t i = 0; i < rows; ++i) {
    const Float factor = constant(factors[i]);
    for_vectors(static_cast<size_t>(columns), [&](size_t j, auto part) HWY_ATTR {
      store(hn::Mul(load(x + i * columns + j, part), factor), x + i * columns + j, part);
    });
  }
}

void multiply_elements(const float* by, int64_t rows, int64_t columns, float* x) {
  for (int64_t i = 0; i < rows; ++i) {
    for_vectors(static_cast<size_t>(columns), [&](size_t j, auto part) HWY_ATTR {
      const size_t at = static_cast<size_t>(i * attention_tile) + j;
      store(hn::Mul(load(x + at, part), load(by + at, part)), x + at, part);
    });
  }
}

// Adds the keys of one tile to the running softmax of a tile of queries.
void forward_keys(const AttentionForward& t, const ForwardTask& task, const Stretch& queries,
                  const Stretch& keys, const ForwardTiles& tiles) {
  const int64_t dim = t.q.shape[3], width = pad(queries.count);
  const int64_t kv_head = task.head / (t.q.shape[2] / t.k.shape[2]);
  load_head(t.k, rows_of(t.k, task.batch, kv_head), keys.begin, keys.count, 1, tiles.keys);
  load_head(t.v, rows_of(t.v, task.batch, kv_head), keys.begin, keys.count, 1, tiles.values);
  multiply_tile(keys.count, width, dim, {tiles.keys, pad(dim), 1},
                {tiles.queries_t, attention_tile}, {tiles.scores, attention_tile, false});
  if (is_partly_hidden(queries, keys)) {
    hide_later_keys(queries, keys, -std::numeric_limits<float>::infinity(), tiles.scores);
  }
  softmax_tile(width, keys.count, tiles);
  if (t.options.dropout > 0) {
    dropout_tile(t.options, task.batch, task.head, queries, keys, tiles.mask);
    multiply_elements(tiles.mask, keys.count, queries.count, tiles.scores);
  }
  if (keys.begin > 0) scale_rows(tiles.factor, queries.count, pad(dim), tiles.sums);
  multiply_tile(queries.count, pad(dim), keys.count, {tiles.scores, 1, attention_tile},
                {tiles.values, pad(dim)}, {tiles.sums, pad(dim), keys.begin > 0});
}

// A query that sees no key gets 0 and a log_sum of -infinity.
void finish_queries(const AttentionForward& t, const ForwardTask& task, const Stretch& queries,
                    const ForwardTiles& tiles) {
  float* log_sum = t.log_sum.as<float>() + (task.batch * t.q.shape[2] + task.head) * t.q.shape[1] +
                   queries.begin;
  for (int64_t i = 0; i < queries.count; ++i) {
    const float total = tiles.total[i];
    log_sum[i] = tiles.most[i] + std::log(total);
    tiles.factor[i] = total == 0 ? 0 : 1 / total;
  }
  store_head(tiles.sums, tiles.factor, queries.count, t.out, rows_of(t.out, task.batch, task.head),
             queries.begin);
}

void forward_tile(const AttentionForward& t, const ForwardTask& task, FloatStack stack) {
  constexpr float lowest = -1e30f;  // of the maximum; finite, so that its differences are numbers
  const int64_t dim = t.q.shape[3];
  const ForwardTiles tiles(stack, dim);
  const Stretch queries = stretch_of(t.options.query_positions, task.first_query);
  load_head(t.q, rows_of(t.q, task.batch, task.head), queries.begin, queries.count, t.options.scale,
            tiles.queries);
  transpose_tile(tiles.queries, queries.count, dim, tiles.queries_t);
  std::fill_n(tiles.most, attention_tile, lowest);
  std::fill_n(tiles.total, attention_tile, 0.0f);
  std::fill_n(tiles.sums, attention_tile * pad(dim), 0.0f);
  for (int64_t begin = 0; begin < t.k.shape[1]; begin += attention_tile) {
    const Stretch keys = stretch_of(t.options.key_positions, begin);
    if (keys.first() > queries.last()) break;
    forward_keys(t, task, queries, keys, tiles);
  }
  finish_queries(t, task, queries, tiles);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace switchyard::ops
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "core/ops/backends.h"

namespace switchyard::ops {
HWY_EXPORT(forward_tile);

void cpu::attention_forward(const Context& context, const Tensor& q, const Tensor& k,
                            const Tensor& v, const Tensor& out, const Tensor& log_sum,
                            const AttentionOptions& options) {
  const AttentionForward tensors{q, k, v, out, log_sum, options};
  const int64_t dim = q.shape[3], heads = q.shape[2], tiles = tiles_of(q.shape[1]);
  const int64_t floats = attention_tile * (5 * pad(dim) + 2 * attention_tile + 3);
  const auto kernel = HWY_DYNAMIC_DISPATCH(forward_tile);
  for_attention_tasks(
      context, q.shape[0] * heads * tiles, floats, [&](int64_t i, FloatStack stack) {
        kernel(tensors, {i / (heads * tiles), i / tiles % heads, i % tiles * attention_tile},
               stack);
      });
}

}  // namespace switchyard::ops
#endif  // HWY_ONCE
