#include "core/ops/attention/arguments.h"
#include "core/ops/attention/own.h"

// With P the weights and M the dropout factors (1 without dropout): dV = (P M)^T dO, dS = P (M (dO
// V^T) - delta) with delta = rows' sums of dO O, dQ = scale dS K, dK = scale dS^T Q (Dao et al.,
// FlashAttention, 2022, appendix B). dQ is summed by blocks of queries, dK and dV by blocks of keys
// over all queries and heads of their group: each sum has one owner and one order.
namespace switchyard::cuda::attention {

namespace {

template <class T>
struct Backward {
  Heads<T> q, k, v, out, dout, dq, dk, dv;
  const float* log_sum;  // [batch, heads, queries]
  float* delta;          // as log_sum
};

// delta; a warp for each row.
template <class T>
__global__ void delta_kernel(Backward<T> t, Problem p) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  const int64_t rows = p.batch * p.heads * p.queries;
  for (int64_t row = thread_index() / warp_size; row < rows; row += thread_count() / warp_size) {
    const int64_t query = row % p.queries, head = row / p.queries % p.heads;
    const int64_t sample = row / p.queries / p.heads;
    const Rows<T> out = rows_of(t.out, sample, head), dout = rows_of(t.dout, sample, head);
    float sum = 0;
    for (int column = lane * Pack<T>::size; column < p.head_dim;
         column += warp_size * Pack<T>::size) {
      const auto x = load_columns(out.data + query * out.stride, column, p.head_dim, out.in_packs);
      const auto y =
          load_columns(dout.data + query * dout.stride, column, p.head_dim, dout.in_packs);
      for (int e = 0; e < Pack<T>::size; ++e) sum += to_float(x[e]) * to_float(y[e]);
    }
    sum = reduce_warp(sum);
    if (lane == 0) t.delta[row] = sum;
  }
}

// P M and dS of one query and one key, from its score and dO V^T; `kept` is M.
struct Gradient {
  float weight, dscore;
};
__device__ Gradient gradient_of(bool visible, float score, float dweight, float kept, float log_sum,
                                float delta) {
  if (!visible) return {0, 0};
  const float weight = expf(score - log_sum);
  return {weight * kept, weight * (dweight * kept - delta)};
}

// M of a thread's scores.
template <class Tile, RowsAre rows_are>
__device__ Scores<Tile> dropout_factors(const Problem& p, const Place& place, const Stretch& rows,
                                        const Stretch& columns, float* tile) {
  if (p.dropout.on) {
    dropout_tile<Tile, rows_are>(p.dropout, place, rows, columns, tile);
    return load_scores<Tile>(tile);
  }
  Scores<Tile> ones;
  for (int r = 0; r < Tile::each; ++r) {
    for (int c = 0; c < Tile::each; ++c) ones.at[r][c] = 1;
  }
  return ones;
}

// Statistics of a query, 0 past the end.
struct Statistics {
  const float *log_sum, *delta;  // of one head
  int64_t queries;
  __device__ float log_sum_of(int64_t query) const { return query < queries ? log_sum[query] : 0; }
  __device__ float delta_of(int64_t query) const { return query < queries ? delta[query] : 0; }
};
template <class T>
__device__ Statistics statistics_of(const Backward<T>& t, const Problem& p, int64_t sample,
                                    int64_t head) {
  const int64_t first = (sample * p.heads + head) * p.queries;
  return {t.log_sum + first, t.delta + first, p.queries};
}

struct BackwardTiles {
  float *queries, *douts, *keys, *values, *scores;
};
template <class Tile>
__device__ BackwardTiles backward_tiles() {
  float* const first = dynamic_shared<float>();
  return {first, first + Tile::floats, first + 2 * Tile::floats, first + 3 * Tile::floats,
          first + 4 * Tile::floats};
}

// A block for a tile of queries of one head, as in the forward pass.
template <class T, class Tile>
__global__ void __launch_bounds__(ops::attention_threads, 1)
    queries_kernel(Backward<T> t, Problem p) {
  const BackwardTiles tiles = backward_tiles<Tile>();
  Place place = place_of(blockIdx.x, p.batch, p.heads);
  place.tile = (p.queries + Tile::rows - 1) / Tile::rows - 1 - place.tile;  // the longest first
  const int64_t begin = place.tile * Tile::rows, kv_head = place.head / (p.heads / p.kv_heads);
  const int64_t last = begin + Tile::rows < p.queries ? begin + Tile::rows - 1 : p.queries - 1;
  if (p.dropout.on) p.dropout.key = in_this_step(p.dropout.key);
  load_rows<Tile>(rows_of(t.q, place.sample, place.head), begin, p.queries, p.head_dim, p.scale,
                  tiles.queries);
  load_rows<Tile>(rows_of(t.dout, place.sample, place.head), begin, p.queries, p.head_dim, 1,
                  tiles.douts);
  const Statistics statistics = statistics_of(t, p, place.sample, place.head);
  const int64_t first_row = begin + thread_row() * Tile::each;
  const Stretch query_stretch{p.query_positions, begin, p.queries};
  const auto queries = row_positions<Tile>(query_stretch, before_all_keys);
  Sums<Tile> sums;
  for (int64_t key = 0; key < p.keys; key += Tile::rows) {
    if (p.key_positions[key] > p.query_positions[last]) break;
    const Stretch key_stretch{p.key_positions, key, p.keys};
    const auto keys = column_positions<Tile>(key_stretch, after_all_queries);
    __syncthreads();
    load_rows<Tile>(rows_of(t.k, place.sample, kv_head), key, p.keys, p.head_dim, 1, tiles.keys);
    load_rows<Tile>(rows_of(t.v, place.sample, kv_head), key, p.keys, p.head_dim, 1, tiles.values);
    __syncthreads();
    Scores<Tile> scores = dot_rows<Tile>(tiles.queries, tiles.keys);
    const Scores<Tile> dweights = dot_rows<Tile>(tiles.douts, tiles.values);
    const Scores<Tile> kept =
        dropout_factors<Tile, RowsAre::queries>(p, place, query_stretch, key_stretch, tiles.scores);
    for (int r = 0; r < Tile::each; ++r) {
      const float log_sum = statistics.log_sum_of(first_row + r);
      const float delta = statistics.delta_of(first_row + r);
      for (int c = 0; c < Tile::each; ++c) {
        scores.at[r][c] = gradient_of(keys.at[c] <= queries.at[r], scores.at[r][c],
                                      dweights.at[r][c], kept.at[r][c], log_sum, delta)
                              .dscore;
      }
    }
    store_scores<Tile>(scores, tiles.scores);
    __syncthreads();
    add_product<Tile>(tiles.scores, tiles.keys, sums);
  }
  float factors[Tile::each];
  for (int r = 0; r < Tile::each; ++r) factors[r] = p.scale;
  __syncthreads();  // the tile of queries may still be read
  store_sums<Tile>(sums, factors, tiles.queries);
  __syncthreads();
  store_rows<Tile>(tiles.queries, rows_of(t.dq, place.sample, place.head), begin, p.queries,
                   p.head_dim);
}

// Adds to dK and dV what a tile of queries of one head gives; rows are keys, columns queries.
template <class T, class Tile>
__device__ void add_queries(const Backward<T>& t, const Problem& p, const Place& place,
                            int64_t begin, const Stretch& key_stretch, const BackwardTiles& tiles,
                            Sums<Tile>& dkeys, Sums<Tile>& dvalues) {
  __syncthreads();
  load_rows<Tile>(rows_of(t.q, place.sample, place.head), begin, p.queries, p.head_dim, p.scale,
                  tiles.queries);
  load_rows<Tile>(rows_of(t.dout, place.sample, place.head), begin, p.queries, p.head_dim, 1,
                  tiles.douts);
  __syncthreads();
  const Stretch query_stretch{p.query_positions, begin, p.queries};
  const auto queries = column_positions<Tile>(query_stretch, before_all_keys);
  const auto keys = row_positions<Tile>(key_stretch, after_all_queries);
  const Statistics statistics = statistics_of(t, p, place.sample, place.head);
  Scores<Tile> weights = dot_rows<Tile>(tiles.keys, tiles.queries);
  Scores<Tile> dscores = dot_rows<Tile>(tiles.values, tiles.douts);
  const Scores<Tile> kept =
      dropout_factors<Tile, RowsAre::keys>(p, place, key_stretch, query_stretch, tiles.scores);
  for (int c = 0; c < Tile::each; ++c) {
    const int64_t query = begin + thread_column() + c * ops::attention_side;
    const float log_sum = statistics.log_sum_of(query), delta = statistics.delta_of(query);
    for (int r = 0; r < Tile::each; ++r) {
      const Gradient gradient = gradient_of(keys.at[r] <= queries.at[c], weights.at[r][c],
                                            dscores.at[r][c], kept.at[r][c], log_sum, delta);
      weights.at[r][c] = gradient.weight;
      dscores.at[r][c] = gradient.dscore;
    }
  }
  store_scores<Tile>(weights, tiles.scores);
  __syncthreads();
  add_product<Tile>(tiles.scores, tiles.douts, dvalues);
  __syncthreads();
  store_scores<Tile>(dscores, tiles.scores);
  __syncthreads();
  add_product<Tile>(tiles.scores, tiles.queries, dkeys);
}

// A block for a tile of keys walks the queries of its group's heads that see any of them.
template <class T, class Tile>
__global__ void __launch_bounds__(ops::attention_threads, 1) keys_kernel(Backward<T> t, Problem p) {
  const BackwardTiles tiles = backward_tiles<Tile>();
  const Place place = place_of(blockIdx.x, p.batch, p.kv_heads);
  const int64_t begin = place.tile * Tile::rows, group = p.heads / p.kv_heads;
  if (p.dropout.on) p.dropout.key = in_this_step(p.dropout.key);
  load_rows<Tile>(rows_of(t.k, place.sample, place.head), begin, p.keys, p.head_dim, 1, tiles.keys);
  load_rows<Tile>(rows_of(t.v, place.sample, place.head), begin, p.keys, p.head_dim, 1,
                  tiles.values);
  const Stretch keys{p.key_positions, begin, p.keys};
  Sums<Tile> dkeys, dvalues;
  for (int64_t head = place.head * group; head < (place.head + 1) * group; ++head) {
    for (int64_t query = 0; query < p.queries; query += Tile::rows) {
      const int64_t last = query + Tile::rows < p.queries ? query + Tile::rows - 1 : p.queries - 1;
      if (p.query_positions[last] < p.key_positions[begin]) continue;
      add_queries<T, Tile>(t, p, {place.sample, head, 0}, query, keys, tiles, dkeys, dvalues);
    }
  }
  float factors[Tile::each];
  for (int r = 0; r < Tile::each; ++r) factors[r] = 1;
  __syncthreads();
  store_sums<Tile>(dkeys, factors, tiles.keys);
  store_sums<Tile>(dvalues, factors, tiles.values);
  __syncthreads();
  store_rows<Tile>(tiles.keys, rows_of(t.dk, place.sample, place.head), begin, p.keys, p.head_dim);
  store_rows<Tile>(tiles.values, rows_of(t.dv, place.sample, place.head), begin, p.keys,
                   p.head_dim);
}

template <class T>
Backward<T> tensors_of(const ops::AttentionBackward& t, float* delta) {
  return {heads_of<T>(t.q),      heads_of<T>(t.k),
          heads_of<T>(t.v),      heads_of<T>(t.out),
          heads_of<T>(t.dout),   heads_of<T>(t.dq),
          heads_of<T>(t.dk),     heads_of<T>(t.dv),
          t.log_sum.as<float>(), delta};
}

template <class T, class Tile>
void backward(const ops::Context& context, const Backward<T>& t, const Problem& p) {
  const auto launch_over = [&](int64_t heads, int64_t length) {
    return ops::attention_launch(p.batch, heads, length, p.head_dim, ops::attention_backward_tiles);
  };
  if (p.queries > 0) {
    launch("attention_backward_delta", delta_kernel<T>,
           flat_launch(p.batch * p.heads * p.queries * warp_size, 1), context.stream, t, p);
    launch("attention_backward_queries", queries_kernel<T, Tile>, launch_over(p.heads, p.queries),
           context.stream, t, p);
  }
  if (p.keys > 0) {
    launch("attention_backward_keys", keys_kernel<T, Tile>, launch_over(p.kv_heads, p.keys),
           context.stream, t, p);
  }
}

}  // namespace

}  // namespace switchyard::cuda::attention

namespace switchyard::ops {

void own_attention_backward(const Context& context, const AttentionBackward& t,
                            const AttentionOptions& options) {
  using namespace switchyard::cuda;
  if (t.q.shape[0] == 0 || t.q.shape[2] == 0) return;
  Scratch::Scope scope(context.scratch);
  const Tensor delta = scope.allocate(t.log_sum.shape, DType::f32);
  const attention::Problem problem = attention::problem_of(t.q, t.k, options);
  with_floating(t.q.dtype, [&]<class T>() {
    attention::with_tile(t.q.shape[3], [&]<class Tile>() {
      attention::backward<T, Tile>(context, attention::tensors_of<T>(t, delta.as<float>()),
                                   problem);
    });
  });
}

}  // namespace switchyard::ops
