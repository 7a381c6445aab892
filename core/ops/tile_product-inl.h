// Products of small fp32 matrices that lie in cache. Private to core/ops; see highway.h for how a
// kernel file includes it.

#if defined(SWITCHYARD_CORE_OPS_TILE_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SWITCHYARD_CORE_OPS_TILE_PRODUCT_INL_H_
#undef SWITCHYARD_CORE_OPS_TILE_PRODUCT_INL_H_
#else
#define SWITCHYARD_CORE_OPS_TILE_PRODUCT_INL_H_
#endif

#include "core/ops/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace switchyard::ops {
namespace HWY_NAMESPACE {

// Element (i, p) is at[i * row + p * column]: a matrix as it lies, or transposed.
struct LeftTile {
  const float* at;
  int64_t row, column;
};
struct RightTile {
  const float* at;
  int64_t row;
};
struct SumTile {
  float* at;
  int64_t row;
  bool accumulate;
};

// The accumulators of a block of c fill 24 of AVX-512's 32 registers or 12 of AVX2's 16.
constexpr int64_t block_rows = 6;
constexpr int64_t block_vectors = hn::MaxLanes(FloatTag()) >= 16 ? 4 : 2;

template <int64_t rows, int64_t vectors>
HWY_INLINE void multiply_block(LeftTile a, RightTile b, SumTile c, int64_t depth) {
  const auto width = static_cast<int64_t>(lanes());
  Float sum[rows][vectors];
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < vectors; ++j) {
      sum[i][j] = c.accumulate ? load(c.at + i * c.row + j * width, All()) : zero();
    }
  }
  for (int64_t p = 0; p < depth; ++p) {
    Float right[vectors];
    for (int64_t j = 0; j < vectors; ++j) right[j] = load(b.at + p * b.row + j * width, All());
    for (int64_t i = 0; i < rows; ++i) {
      const Float left = constant(a.at[i * a.row + p * a.column]);
      for (int64_t j = 0; j < vectors; ++j) sum[i][j] = hn::MulAdd(left, right[j], sum[i][j]);
    }
  }
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < vectors; ++j) store(sum[i][j], c.at + i * c.row + j * width, All());
  }
}

template <int64_t vectors>
HWY_INLINE void multiply_last_rows(int64_t rows, LeftTile a, RightTile b, SumTile c,
                                   int64_t depth) {
  switch (rows) {
    case 1:
      return multiply_block<1, vectors>(a, b, c, depth);
    case 2:
      return multiply_block<2, vectors>(a, b, c, depth);
    case 3:
      return multiply_block<3, vectors>(a, b, c, depth);
    case 4:
      return multiply_block<4, vectors>(a, b, c, depth);
    case 5:
      return multiply_block<5, vectors>(a, b, c, depth);
    default:
      return;
  }
}

template <int64_t vectors>
HWY_INLINE void multiply_columns(int64_t rows, LeftTile a, RightTile b, SumTile c, int64_t depth) {
  int64_t i = 0;
  for (; i + block_rows <= rows; i += block_rows) {
    multiply_block<block_rows, vectors>({a.at + i * a.row, a.row, a.column}, b,
                                        {c.at + i * c.row, c.row, c.accumulate}, depth);
  }
  multiply_last_rows<vectors>(rows - i, {a.at + i * a.row, a.row, a.column}, b,
                              {c.at + i * c.row, c.row, c.accumulate}, depth);
}

// c [rows, columns] (+)= a [rows, depth] b [depth, columns]; columns is a multiple of 16.
inline void multiply_tile(int64_t rows, int64_t columns, int64_t depth, LeftTile a, RightTile b,
                          SumTile c) {
  const auto width = static_cast<int64_t>(lanes());
  int64_t j = 0;
  for (; j + block_vectors * width <= columns; j += block_vectors * width) {
    multiply_columns<block_vectors>(rows, a, {b.at + j, b.row}, {c.at + j, c.row, c.accumulate},
                                    depth);
  }
  for (; j < columns; j += width) {
    multiply_columns<1>(rows, a, {b.at + j, b.row}, {c.at + j, c.row, c.accumulate}, depth);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace switchyard::ops
HWY_AFTER_NAMESPACE();

#endif  // SWITCHYARD_CORE_OPS_TILE_PRODUCT_INL_H_
