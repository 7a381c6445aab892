// Tiles of attention: loading, transposing, masks. Private to core/ops; see highway.h for how a
// kernel file includes it.

#if defined(SWITCHYARD_CORE_OPS_ATTENTION_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SWITCHYARD_CORE_OPS_ATTENTION_TILE_INL_H_
#undef SWITCHYARD_CORE_OPS_ATTENTION_TILE_INL_H_
#else
#define SWITCHYARD_CORE_OPS_ATTENTION_TILE_INL_H_
#endif

#include <limits>

#include "core/ops/attention/tiles.h"
#include "core/ops/philox-inl.h"
#include "core/ops/tile_product-inl.h"

HWY_BEFORE_NAMESPACE();
namespace switchyard::ops {
namespace HWY_NAMESPACE {

// Widens rows into `to`, whose rows are pad(columns) long with zeros at their ends, times `factor`.
template <class T>
void load_rows(const T* from, int64_t step, int64_t rows, int64_t columns, float factor,
               float* to) {
  const Float times = constant(factor);
  for (int64_t i = 0; i < rows; ++i) {
    float* row = to + i * pad(columns);
    std::fill(row + columns, row + pad(columns), 0.0f);
    for_vectors(static_cast<size_t>(columns), [&](size_t j, auto part) HWY_ATTR {
      store(hn::Mul(load(from + i * step + j, part), times), row + j, part);
    });
  }
}

inline void load_head(const Tensor& t, HeadRows head, int64_t begin, int64_t rows, float factor,
                      float* to) {
  const int64_t at = head.first + begin * head.step;
  if (t.dtype == DType::f32) {
    load_rows(t.as<float>() + at, head.step, rows, t.shape[3], factor, to);
  } else {
    load_rows(t.as<bf16>() + at, head.step, rows, t.shape[3], factor, to);
  }
}

template <class T>
void store_rows(const float* from, const float* factors, int64_t rows, int64_t columns, T* to,
                int64_t step) {
  for (int64_t i = 0; i < rows; ++i) {
    const Float times = constant(factors[i]);
    for_vectors(static_cast<size_t>(columns), [&](size_t j, auto part) HWY_ATTR {
      store(hn::Mul(load(from + i * pad(columns) + j, part), times), to + i * step + j, part);
    });
  }
}

// Rows of `from`, each times its own factor, into the tensor.
inline void store_head(const float* from, const float* factors, int64_t rows, const Tensor& t,
                       HeadRows head, int64_t begin) {
  const int64_t at = head.first + begin * head.step;
  if (t.dtype == DType::f32) {
    store_rows(from, factors, rows, t.shape[3], t.as<float>() + at, head.step);
  } else {
    store_rows(from, factors, rows, t.shape[3], t.as<bf16>() + at, head.step);
  }
}

// to [columns, tile] = from [rows, pad(columns)] transposed; zeros where there is no row.
inline void transpose_tile(const float* from, int64_t rows, int64_t columns, float* to) {
  for (int64_t j = 0; j < columns; ++j) {
    float* row = to + j * attention_tile;
    for (int64_t i = 0; i < rows; ++i) row[i] = from[i * pad(columns) + j];
    std::fill(row + rows, row + pad(rows), 0.0f);
  }
}

// Whether some query of the tile comes before some key.
inline bool is_partly_hidden(const Stretch& queries, const Stretch& keys) {
  return keys.last() > queries.first();
}

// `hidden` where the key comes after the query, for one key and every query.
inline void hide_row(const Stretch& queries, int32_t key_position, float hidden, float* row) {
  for (int64_t i = 0; i < queries.count; ++i) {
    row[i] = queries.positions[i] < key_position ? hidden : row[i];
  }
}

// Puts `hidden` where the key comes after the query.
inline void hide_later_keys(const Stretch& queries, const Stretch& keys, float hidden,
                            float* scores) {
  for (int64_t j = 0; j < keys.count; ++j) {
    if (keys.positions[j] > queries.first()) {
      hide_row(queries, keys.positions[j], hidden, scores + j * attention_tile);
    }
  }
}

// The number of keys from `begin` on whose positions count up by one.
inline int64_t run_of(const Stretch& keys, int64_t begin) {
  int64_t end = begin + 1;
  while (end < keys.count && keys.positions[end] == keys.positions[end - 1] + 1) ++end;
  return end - begin;
}

// mask [key, query] = 0 where dropout drops the weight, else 1 / (1 - p).
inline void dropout_tile(const AttentionOptions& options, int64_t batch, int64_t head,
                         const Stretch& queries, const Stretch& keys, float* mask) {
  HWY_ALIGN uint32_t buffer[attention_tile + random_words_slack];
  const uint32_t threshold = dropout_threshold(options.dropout);
  const auto kept = static_cast<float>(1 / (1 - options.dropout));
  const int64_t site =
      (options.first_sample + batch) * options.all_heads + options.first_head + head;
  for (int64_t begin = 0, count = 0; begin < keys.count; begin += count) {
    count = run_of(keys, begin);
    for (int64_t i = 0; i < queries.count; ++i) {
      const int64_t row = site * options.sequence_length + queries.positions[i];
      const auto first =
          static_cast<uint64_t>(row * options.sequence_length + keys.positions[begin]);
      const uint32_t* words = random_words(options.key, first, static_cast<size_t>(count), buffer);
      for (int64_t j = 0; j < count; ++j) {
        mask[(begin + j) * attention_tile + i] = words[j] >= threshold ? kept : 0.0f;
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace switchyard::ops
HWY_AFTER_NAMESPACE();

#endif  // SWITCHYARD_CORE_OPS_ATTENTION_TILE_INL_H_
