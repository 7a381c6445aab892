#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/ops/attention/backward_cpu.cpp"
#include "core/ops/highway.h"
// Keep this order.
#include <hwy/foreach_target.h>

#include "core/ops/attention/tile-inl.h"
#include "core/ops/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace switchyard::ops {
namespace HWY_NAMESPACE {
namespace {

// With the weights P = exp(score - log_sum) of one tile, computed anew:
//   dV += P^T dO            dP = dO V^T            delta = sum over head_dim of dO * O
//   dS = P * (dP - delta)   dQ += dS K * scale     dK += dS^T Q * scale
// and with dropout's mask M: P * M in dV, dP * M in dS. One task takes all queries of one head of
// keys, in order, so that sums over queries need no other thread.
struct BackwardTiles {
  float *keys, *values, *dkeys, *dvalues;  // [all keys, pad(head_dim)]
  float *queries, *douts, *dqueries;       // [tile, pad(head_dim)]
  float *queries_t, *douts_t;              // [head_dim, tile]
  float *weights, *dweights, *mask;        // [keys, queries]
  float *log_sum, *delta, *factors;        // [tile]

  BackwardTiles(FloatStack stack, int64_t all_keys, int64_t head_dim) {
    for (float** piece : {&keys, &values, &dkeys, &dvalues}) {
      *piece = stack.take(all_keys * pad(head_dim));
    }
    for (float** piece : {&queries, &douts, &dqueries}) {
      *piece = stack.take(attention_tile * pad(head_dim));
    }
    for (float** piece : {&queries_t, &douts_t}) *piece = stack.take(attention_tile * head_dim);
    for (float** piece : {&weights, &dweights, &mask}) {
      *piece = stack.take(attention_tile * attention_tile);
    }
    for (float** piece : {&log_sum, &delta, &factors}) *piece = stack.take(attention_tile);
  }
};

struct Head {
  int64_t batch, head;
};

void row_dots(const float* x, const float* y, int64_t rows, int64_t columns, float* dots) {
  for (int64_t i = 0; i < rows; ++i) {
    Float sum = zero();
    for_vectors(static_cast<size_t>(columns), [&](size_t j, auto part) HWY_ATTR {
      sum = hn::MulAdd(load(x + i * columns + j, part), load(y + i * columns + j, part), sum);
    });
    dots[i] = sum_of_lanes(sum);
  }
}

// The forward pass's values of a tile of queries; the tile of dQ holds the outputs meanwhile.
void load_queries(const AttentionBackward& t, const AttentionOptions& options, const Head& head,
                  const Stretch& queries, const BackwardTiles& tiles) {
  const int64_t dim = t.q.shape[3], count = queries.count;
  load_head(t.q, rows_of(t.q, head.batch, head.head), queries.begin, count, options.scale,
            tiles.queries);
  load_head(t.dout, rows_of(t.dout, head.batch, head.head), queries.begin, count, 1, tiles.douts);
  load_head(t.out, rows_of(t.out, head.batch, head.head), queries.begin, count, 1, tiles.dqueries);
  std::fill_n(tiles.delta, attention_tile, 0.0f);
  row_dots(tiles.douts, tiles.dqueries, count, pad(dim), tiles.delta);
  std::fill_n(tiles.dqueries, count * pad(dim), 0.0f);
  transpose_tile(tiles.queries, count, dim, tiles.queries_t);
  transpose_tile(tiles.douts, count, dim, tiles.douts_t);
  const float* log_sum = t.log_sum.as<float>() +
                         (head.batch * t.q.shape[2] + head.head) * t.q.shape[1] + queries.begin;
  std::fill_n(tiles.log_sum, attention_tile, 0.0f);
  std::copy_n(log_sum, count, tiles.log_sum);
}

// weights: scores -> exp(score - log_sum), 0 where the key is hidden.
void weights_tile(const Stretch& queries, const Stretch& keys, const BackwardTiles& tiles) {
  for (int64_t j = 0; j < keys.count; ++j) {
    float* row = tiles.weights + j * attention_tile;
    for_vectors(static_cast<size_t>(pad(queries.count)), [&](size_t i, auto part) HWY_ATTR {
      const Float log_sum = load(tiles.log_sum + i, part);
      store(exponential(hn::Sub(load(row + i, part), log_sum)), row + i, part);
    });
  }
  if (is_partly_hidden(queries, keys)) hide_later_keys(queries, keys, 0, tiles.weights);
}

// dweights: dP -> dS, and weights: P -> P * M.
void dscores_tile(int64_t queries, int64_t keys, bool dropout, const BackwardTiles& tiles) {
  for (int64_t j = 0; j < keys; ++j) {
    float* weights = tiles.weights + j * attention_tile;
    float* dweights = tiles.dweights + j * attention_tile;
    const float* mask = tiles.mask + j * attention_tile;
    for_vectors(static_cast<size_t>(pad(queries)), [&](size_t i, auto part) HWY_ATTR {
      const Float weight = load(weights + i, part), delta = load(tiles.delta + i, part);
      Float dweight = load(dweights + i, part);
      if (dropout) {
        const Float kept = load(mask + i, part);
        dweight = hn::Mul(dweight, kept);
        store(hn::Mul(weight, kept), weights + i, part);
      }
      store(hn::Mul(weight, hn::Sub(dweight, delta)), dweights + i, part);
    });
  }
}

void backward_keys(const AttentionBackward& t, const AttentionOptions& options, const Head& head,
                   const Stretch& queries, const Stretch& keys, const BackwardTiles& tiles) {
  const int64_t dim = t.q.shape[3], step = pad(dim), width = pad(queries.count);
  const int64_t at = keys.begin * step;
  multiply_tile(keys.count, width, dim, {tiles.keys + at, step, 1},
                {tiles.queries_t, attention_tile}, {tiles.weights, attention_tile, false});
  weights_tile(queries, keys, tiles);
  multiply_tile(keys.count, width, dim, {tiles.values + at, step, 1},
                {tiles.douts_t, attention_tile}, {tiles.dweights, attention_tile, false});
  if (options.dropout > 0) {
    dropout_tile(options, head.batch, head.head, queries, keys, tiles.mask);
  }
  dscores_tile(queries.count, keys.count, options.dropout > 0, tiles);
  multiply_tile(keys.count, step, queries.count, {tiles.weights, attention_tile, 1},
                {tiles.douts, step}, {tiles.dvalues + at, step, true});
  multiply_tile(keys.count, step, queries.count, {tiles.dweights, attention_tile, 1},
                {tiles.queries, step}, {tiles.dkeys + at, step, true});
  multiply_tile(queries.count, step, keys.count, {tiles.dweights, 1, attention_tile},
                {tiles.keys + at, step}, {tiles.dqueries, step, true});
}

void backward_queries(const AttentionBackward& t, const AttentionOptions& options, const Head& head,
                      const Stretch& queries, const BackwardTiles& tiles) {
  load_queries(t, options, head, queries, tiles);
  for (int64_t begin = 0; begin < t.k.shape[1]; begin += attention_tile) {
    const Stretch keys = stretch_of(options.key_positions, begin);
    if (keys.first() > queries.last()) break;
    backward_keys(t, options, head, queries, keys, tiles);
  }
  std::fill_n(tiles.factors, attention_tile, options.scale);
  store_head(tiles.dqueries, tiles.factors, queries.count, t.dq,
             rows_of(t.dq, head.batch, head.head), queries.begin);
}

void store_keys(const float* from, const Tensor& to, const Head& kv, const BackwardTiles& tiles) {
  std::fill_n(tiles.factors, attention_tile, 1.0f);
  const HeadRows rows = rows_of(to, kv.batch, kv.head);
  for (int64_t begin = 0; begin < to.shape[1]; begin += attention_tile) {
    store_head(from + begin * pad(to.shape[3]), tiles.factors,
               std::min(attention_tile, to.shape[1] - begin), to, rows, begin);
  }
}

void backward_head(const AttentionBackward& t, const AttentionOptions& options, const Head& kv,
                   FloatStack stack) {
  const int64_t keys = t.k.shape[1], dim = t.k.shape[3], group = t.q.shape[2] / t.k.shape[2];
  const BackwardTiles tiles(stack, keys, dim);
  load_head(t.k, rows_of(t.k, kv.batch, kv.head), 0, keys, 1, tiles.keys);
  load_head(t.v, rows_of(t.v, kv.batch, kv.head), 0, keys, 1, tiles.values);
  std::fill_n(tiles.dkeys, keys * pad(dim), 0.0f);
  std::fill_n(tiles.dvalues, keys * pad(dim), 0.0f);
  for (int64_t head = kv.head * group; head < (kv.head + 1) * group; ++head) {
    for (int64_t begin = 0; begin < t.q.shape[1]; begin += attention_tile) {
      backward_queries(t, options, {kv.batch, head}, stretch_of(options.query_positions, begin),
                       tiles);
    }
  }
  store_keys(tiles.dkeys, t.dk, kv, tiles);
  store_keys(tiles.dvalues, t.dv, kv, tiles);
}

void backward_task(const AttentionBackward& t, const AttentionOptions& options, int64_t task,
                   FloatStack stack) {
  backward_head(t, options, {task / t.k.shape[2], task % t.k.shape[2]}, stack);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace switchyard::ops
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "core/ops/backends.h"

namespace switchyard::ops {
HWY_EXPORT(backward_task);

void cpu::attention_backward(const Context& context, const AttentionBackward& t,
                             const AttentionOptions& options) {
  const int64_t keys = t.k.shape[1], dim = t.k.shape[3];
  const int64_t floats =
      4 * keys * pad(dim) + attention_tile * (5 * pad(dim) + 3 * attention_tile + 3);
  const auto kernel = HWY_DYNAMIC_DISPATCH(backward_task);
  for_attention_tasks(context, t.k.shape[0] * t.k.shape[2], floats,
                      [&](int64_t i, FloatStack stack) { kernel(t, options, i, stack); });
}

}  // namespace switchyard::ops
#endif  // HWY_ONCE
