#pragma once

#include <limits>

#include "core/cuda/kernel.h"
#include "core/ops/attention/attention.h"
#include "core/ops/attention/launch.h"

// What attention's own kernels share; for .cu files. A block works on a tile of queries by keys;
// thread (y, x) of its 16 x 16 owns rows y * each ... + each - 1 and, of a tile of scores, columns
// x, x + 16, ...; of rows of channels, columns 4 x ... + 3 of every 64. Tiles lie in shared memory
// in fp32, zero where a tensor has no row or channel.
namespace switchyard::cuda::attention {

template <int padded_dim>
struct Tile {
  static constexpr int padded = padded_dim;
  static constexpr int rows = ops::attention_rows(padded);
  static constexpr int stride = ops::attention_stride(padded);
  static constexpr int floats = rows * stride;
  static constexpr int score_stride = ops::attention_stride(rows);
  static constexpr int each = rows / ops::attention_side;
  static constexpr int packs = padded / (4 * ops::attention_side);  // of a thread in a row
};

// A thread's part of a tile of scores, and of a tile of rows.
template <class Tile>
struct Scores {
  float at[Tile::each][Tile::each] = {};
};
template <class Tile>
struct Sums {
  Pack<float> at[Tile::each][Tile::packs] = {};
};

// [batch, length, heads, head_dim] in global memory.
template <class T>
struct Heads {
  T* data;
  int64_t of_sample, of_row, of_head;  // strides
  bool in_packs;  // all rows begin at multiples of 16 bytes and are a whole number of packs long
};
template <class T>
struct Rows {
  T* data;
  int64_t stride;
  bool in_packs;
};
template <class T>
__device__ inline Rows<T> rows_of(const Heads<T>& t, int64_t sample, int64_t head) {
  return {t.data + sample * t.of_sample + head * t.of_head, t.of_row, t.in_packs};
}

struct Dropout {
  bool on;
  uint32_t threshold;  // a weight is dropped where its word is below
  float kept;          // 1 / (1 - p)
  RandomKey key;
  int64_t first_sample, first_head, all_heads, sequence;
};

struct Problem {
  int64_t batch, queries, keys, heads, kv_heads;
  int head_dim;
  float scale;
  const int32_t* query_positions;
  const int32_t* key_positions;
  Dropout dropout;
};

// Which tile this block works on: tiles of all heads of one place in the sequence are neighbours.
struct Place {
  int64_t sample, head, tile;
};
__device__ inline Place place_of(int64_t block, int64_t batch, int64_t heads) {
  const int64_t row = block % (batch * heads);
  return {row / heads, row % heads, block / (batch * heads)};
}

__device__ inline int thread_row() { return static_cast<int>(threadIdx.x) / ops::attention_side; }
__device__ inline int thread_column() {
  return static_cast<int>(threadIdx.x) % ops::attention_side;
}

// Elements of one row from `column` on, zeros past its end.
template <class T>
__device__ inline Pack<T> load_columns(const T* row, int column, int head_dim, bool in_packs) {
  if (in_packs && column < head_dim) return load_pack(row + column);
  Pack<T> pack = {};
  for (int e = 0; e < Pack<T>::size; ++e) {
    if (column + e < head_dim) pack[e] = row[column + e];
  }
  return pack;
}

// Rows [begin, end) of a head, times `factor`, into a tile.
template <class Tile, class T>
__device__ inline void load_rows(const Rows<T>& from, int64_t begin, int64_t end, int head_dim,
                                 float factor, float* tile) {
  constexpr int size = Pack<T>::size, packs = Tile::padded / size;
  for (int i = static_cast<int>(threadIdx.x); i < Tile::rows * packs; i += ops::attention_threads) {
    const int row = i / packs, column = i % packs * size;
    Pack<T> pack = {};
    if (begin + row < end) {
      pack = load_columns(from.data + (begin + row) * from.stride, column, head_dim, from.in_packs);
    }
    for (int part = 0; part < size; part += 4) {
      Pack<float> wide;
      for (int e = 0; e < 4; ++e) wide[e] = factor * to_float(pack[part + e]);
      store_pack(tile + row * Tile::stride + column + part, wide);
    }
  }
}

// The tile's rows into rows [begin, end) of a head.
template <class Tile, class T>
__device__ inline void store_rows(const float* tile, const Rows<T>& to, int64_t begin, int64_t end,
                                  int head_dim) {
  constexpr int size = Pack<T>::size, packs = Tile::padded / size;
  for (int i = static_cast<int>(threadIdx.x); i < Tile::rows * packs; i += ops::attention_threads) {
    const int row = i / packs, column = i % packs * size;
    if (begin + row >= end || column >= head_dim) continue;
    Pack<T> pack;
    for (int part = 0; part < size; part += 4) {
      const Pack<float> wide = load_pack(tile + row * Tile::stride + column + part);
      for (int e = 0; e < 4; ++e) pack[part + e] = from_float<T>(wide[e]);
    }
    T* target = to.data + (begin + row) * to.stride + column;
    if (to.in_packs) {
      store_pack(target, pack);
    } else {
      for (int e = 0; e < size; ++e) {
        if (column + e < head_dim) target[e] = pack[e];
      }
    }
  }
}

// scores = a b^T, for tiles of rows a and b.
template <class Tile>
__device__ inline Scores<Tile> dot_rows(const float* a, const float* b) {
  Scores<Tile> scores;
  const float* a_row = a + thread_row() * Tile::each * Tile::stride;
  const float* b_row = b + thread_column() * Tile::stride;
  for (int d = 0; d < Tile::padded; d += 4) {
    Pack<float> left[Tile::each];
    for (int r = 0; r < Tile::each; ++r) left[r] = load_pack(a_row + r * Tile::stride + d);
    for (int c = 0; c < Tile::each; ++c) {
      const Pack<float> right = load_pack(b_row + c * ops::attention_side * Tile::stride + d);
      for (int r = 0; r < Tile::each; ++r) {
        for (int e = 0; e < 4; ++e) scores.at[r][c] += left[r][e] * right[e];
      }
    }
  }
  return scores;
}

template <class Tile>
__device__ inline void store_scores(const Scores<Tile>& scores, float* tile) {
  for (int r = 0; r < Tile::each; ++r) {
    for (int c = 0; c < Tile::each; ++c) {
      tile[(thread_row() * Tile::each + r) * Tile::score_stride + thread_column() +
           c * ops::attention_side] = scores.at[r][c];
    }
  }
}

// sums += scores b, for a tile of scores and a tile of rows.
template <class Tile>
__device__ inline void add_product(const float* scores, const float* b, Sums<Tile>& sums) {
  const float* weights = scores + thread_row() * Tile::each * Tile::score_stride;
  for (int j = 0; j < Tile::rows; ++j) {
    float weight[Tile::each];
    for (int r = 0; r < Tile::each; ++r) weight[r] = weights[r * Tile::score_stride + j];
    for (int p = 0; p < Tile::packs; ++p) {
      const Pack<float> row =
          load_pack(b + j * Tile::stride + 4 * (thread_column() + p * ops::attention_side));
      for (int r = 0; r < Tile::each; ++r) {
        for (int e = 0; e < 4; ++e) sums.at[r][p][e] += weight[r] * row[e];
      }
    }
  }
}

// A thread's sums, row r times factors[r], into a tile of rows.
template <class Tile>
__device__ inline void store_sums(const Sums<Tile>& sums, const float (&factors)[Tile::each],
                                  float* tile) {
  for (int r = 0; r < Tile::each; ++r) {
    float* row = tile + (thread_row() * Tile::each + r) * Tile::stride;
    for (int p = 0; p < Tile::packs; ++p) {
      Pack<float> pack = sums.at[r][p];
      for (int e = 0; e < 4; ++e) pack[e] *= factors[r];
      store_pack(row + 4 * (thread_column() + p * ops::attention_side), pack);
    }
  }
}

// Where a tile's rows or columns lie: queries or keys of a sequence.
struct Stretch {
  const int32_t* positions;
  int64_t begin, length;  // of the whole sequence
  __device__ bool has(int i) const { return begin + i < length; }
  __device__ int32_t position(int i) const { return positions[begin + i]; }
};

// Positions of a thread's rows and columns. Where a tile passes the end, a query comes before every
// key and a key after every query.
template <int count>
struct Positions {
  int32_t at[count];
};
template <class Tile>
__device__ inline Positions<Tile::each> row_positions(const Stretch& rows, int32_t past_end) {
  Positions<Tile::each> result;
  for (int r = 0; r < Tile::each; ++r) {
    const int row = thread_row() * Tile::each + r;
    result.at[r] = rows.has(row) ? rows.position(row) : past_end;
  }
  return result;
}
template <class Tile>
__device__ inline Positions<Tile::each> column_positions(const Stretch& columns, int32_t past_end) {
  Positions<Tile::each> result;
  for (int c = 0; c < Tile::each; ++c) {
    const int column = thread_column() + c * ops::attention_side;
    result.at[c] = columns.has(column) ? columns.position(column) : past_end;
  }
  return result;
}
inline constexpr int32_t before_all_keys = std::numeric_limits<int32_t>::min();
inline constexpr int32_t after_all_queries = std::numeric_limits<int32_t>::max();

__device__ inline uint32_t random_word(const RandomKey& key, uint64_t element) {
  const auto words = key.block(element / 4);
  const uint64_t word = element % 4;
  const uint32_t low = word == 0 ? words[0] : words[1];
  const uint32_t high = word == 2 ? words[2] : words[3];
  return word < 2 ? low : high;
}

// 1 / (1 - p), or 0 where the weight of this key for this query is dropped; the index is the one
// AttentionOptions gives.
__device__ inline float dropout_factor(const Dropout& dropout, int64_t sample, int64_t head,
                                       int64_t query, int64_t key) {
  const int64_t site =
      (dropout.first_sample + sample) * dropout.all_heads + dropout.first_head + head;
  const int64_t element = (site * dropout.sequence + query) * dropout.sequence + key;
  const uint32_t word = random_word(dropout.key, static_cast<uint64_t>(element));
  return word >= dropout.threshold ? dropout.kept : 0.0f;
}

// The dropout factors of a thread's scores, into its places of the tile; 0 past the ends. In shared
// memory, so that the loop need not be unrolled for registers.
enum class RowsAre : uint8_t { queries, keys };
template <class Tile, RowsAre rows_are>
__device__ inline void dropout_tile(const Dropout& dropout, const Place& place, const Stretch& rows,
                                    const Stretch& columns, float* tile) {
  for (int i = 0; i < Tile::each * Tile::each; ++i) {
    const int row = thread_row() * Tile::each + i / Tile::each;
    const int column = thread_column() + i % Tile::each * ops::attention_side;
    float factor = 0;
    if (rows.has(row) && columns.has(column)) {
      const int32_t x = rows.position(row), y = columns.position(column);
      factor = rows_are == RowsAre::queries
                   ? dropout_factor(dropout, place.sample, place.head, x, y)
                   : dropout_factor(dropout, place.sample, place.head, y, x);
    }
    tile[row * Tile::score_stride + column] = factor;
  }
}

// A thread's scores from its places of the tile.
template <class Tile>
__device__ inline Scores<Tile> load_scores(const float* tile) {
  Scores<Tile> scores;
  for (int r = 0; r < Tile::each; ++r) {
    for (int c = 0; c < Tile::each; ++c) {
      scores.at[r][c] = tile[(thread_row() * Tile::each + r) * Tile::score_stride +
                             thread_column() + c * ops::attention_side];
    }
  }
  return scores;
}

}  // namespace switchyard::cuda::attention
