#include "core/ops/attention/arguments.h"
#include "core/ops/attention/own.h"

namespace switchyard::cuda::attention {

namespace {

template <class T>
struct Forward {
  Heads<T> q, k, v, out;
  float* log_sum;
};

// The running softmax of a thread's rows: maximum, and sum of exponentials relative to it. The
// first maximum is finite, so that differences from it are numbers.
template <class Tile>
struct Softmax {
  float most[Tile::each], total[Tile::each];
  __device__ Softmax() {
    for (int r = 0; r < Tile::each; ++r) {
      most[r] = -1e30f;
      total[r] = 0;
    }
  }
};

// The 16 threads of a row are half a warp.
template <class Operation>
__device__ float reduce_row(float value, Operation operation) {
  for (int offset = ops::attention_side / 2; offset > 0; offset /= 2) {
    value = operation(value, __shfl_xor_sync(whole_warp, value, offset));
  }
  return value;
}

// Turns scores into exp(score - maximum so far), and scales earlier sums to the new maximum.
template <class Tile>
__device__ void exponentiate(Scores<Tile>& scores, Softmax<Tile>& softmax, Sums<Tile>& sums) {
  for (int r = 0; r < Tile::each; ++r) {
    float most = softmax.most[r];
    for (int c = 0; c < Tile::each; ++c) most = Max()(most, scores.at[r][c]);
    most = reduce_row(most, Max());
    float total = 0;
    for (int c = 0; c < Tile::each; ++c) {
      scores.at[r][c] = expf(scores.at[r][c] - most);
      total += scores.at[r][c];
    }
    const float factor = expf(softmax.most[r] - most);
    softmax.most[r] = most;
    softmax.total[r] = softmax.total[r] * factor + reduce_row(total, Sum());
    for (int p = 0; p < Tile::packs; ++p) {
      for (int e = 0; e < 4; ++e) sums.at[r][p][e] *= factor;
    }
  }
}

template <class Tile>
__device__ void hide_later_keys(const Positions<Tile::each>& queries,
                                const Positions<Tile::each>& keys, Scores<Tile>& scores) {
  for (int r = 0; r < Tile::each; ++r) {
    for (int c = 0; c < Tile::each; ++c) {
      if (keys.at[c] > queries.at[r]) {
        scores.at[r][c] = -std::numeric_limits<float>::infinity();
      }
    }
  }
}

template <class Tile>
__device__ void drop(const float* factors, Scores<Tile>& weights) {
  const Scores<Tile> kept = load_scores<Tile>(factors);
  for (int r = 0; r < Tile::each; ++r) {
    for (int c = 0; c < Tile::each; ++c) weights.at[r][c] *= kept.at[r][c];
  }
}

// A query that sees no key gets 0 and a log_sum of -infinity.
template <class Tile>
__device__ void finish(const Softmax<Tile>& softmax, const Sums<Tile>& sums, int64_t begin,
                       const Problem& p, float* log_sum, float* tile) {
  float factors[Tile::each];
  for (int r = 0; r < Tile::each; ++r) {
    const int64_t query = begin + thread_row() * Tile::each + r;
    factors[r] = softmax.total[r] == 0 ? 0 : 1 / softmax.total[r];
    if (thread_column() == 0 && query < p.queries) {
      log_sum[query] = softmax.most[r] + logf(softmax.total[r]);
    }
  }
  store_sums<Tile>(sums, factors, tile);
}

// A block for a tile of queries of one head walks the tiles of keys up to the last that any of its
// queries sees.
template <class T, class Tile>
__global__ void __launch_bounds__(ops::attention_threads, 1)
    forward_kernel(Forward<T> t, Problem p) {
  float* const queries = dynamic_shared<float>();
  float* const rows = queries + Tile::floats;  // of keys, then of values
  float* const weights = rows + Tile::floats;
  const int64_t tiles = (p.queries + Tile::rows - 1) / Tile::rows;
  Place place = place_of(blockIdx.x, p.batch, p.heads);
  place.tile = tiles - 1 - place.tile;  // the longest first
  const int64_t begin = place.tile * Tile::rows, kv_head = place.head / (p.heads / p.kv_heads);
  const int64_t last = begin + Tile::rows < p.queries ? begin + Tile::rows - 1 : p.queries - 1;
  const Rows<T> keys = rows_of(t.k, place.sample, kv_head);
  const Rows<T> values = rows_of(t.v, place.sample, kv_head);
  if (p.dropout.on) p.dropout.key = in_this_step(p.dropout.key);
  load_rows<Tile>(rows_of(t.q, place.sample, place.head), begin, p.queries, p.head_dim, p.scale,
                  queries);
  const Stretch query_stretch{p.query_positions, begin, p.queries};
  const auto query_positions = row_positions<Tile>(query_stretch, before_all_keys);
  Softmax<Tile> softmax;
  Sums<Tile> sums;
  for (int64_t key = 0; key < p.keys; key += Tile::rows) {
    if (p.key_positions[key] > p.query_positions[last]) break;
    const Stretch key_stretch{p.key_positions, key, p.keys};
    const auto key_positions = column_positions<Tile>(key_stretch, after_all_queries);
    __syncthreads();
    load_rows<Tile>(keys, key, p.keys, p.head_dim, 1, rows);
    if (p.dropout.on) {
      dropout_tile<Tile, RowsAre::queries>(p.dropout, place, query_stretch, key_stretch, weights);
    }
    __syncthreads();
    Scores<Tile> scores = dot_rows<Tile>(queries, rows);
    hide_later_keys<Tile>(query_positions, key_positions, scores);
    exponentiate<Tile>(scores, softmax, sums);
    if (p.dropout.on) drop<Tile>(weights, scores);
    store_scores<Tile>(scores, weights);
    __syncthreads();
    load_rows<Tile>(values, key, p.keys, p.head_dim, 1, rows);
    __syncthreads();
    add_product<Tile>(weights, rows, sums);
  }
  float* const log_sum = t.log_sum + (place.sample * p.heads + place.head) * p.queries;
  __syncthreads();  // where no key was seen, the tile of queries may still be written
  finish<Tile>(softmax, sums, begin, p, log_sum, queries);
  __syncthreads();
  store_rows<Tile>(queries, rows_of(t.out, place.sample, place.head), begin, p.queries, p.head_dim);
}

}  // namespace

}  // namespace switchyard::cuda::attention

namespace switchyard::ops {

void own_attention_forward(const Context& context, const Tensor& q, const Tensor& k,
                           const Tensor& v, const Tensor& out, const Tensor& log_sum,
                           const AttentionOptions& options) {
  using namespace switchyard::cuda;
  if (q.elements() == 0) return;
  with_floating(q.dtype, [&]<class T>() {
    attention::with_tile(q.shape[3], [&]<class Tile>() {
      const attention::Forward<T> t{attention::heads_of<T>(q), attention::heads_of<T>(k),
                                    attention::heads_of<T>(v), attention::heads_of<T>(out),
                                    log_sum.as<float>()};
      launch(
          "attention_forward", attention::forward_kernel<T, Tile>,
          attention_launch(q.shape[0], q.shape[2], q.shape[1], q.shape[3], attention_forward_tiles),
          context.stream, t, attention::problem_of(q, k, options));
    });
  });
}

}  // namespace switchyard::ops
