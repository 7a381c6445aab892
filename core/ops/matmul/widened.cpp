#include "core/ops/matmul/widened.h"

#include <algorithm>

#include "core/ops/backends.h"

namespace switchyard::ops::cpu {

namespace {

constexpr int64_t tile = 1024;

template <class To, class From>
void convert_rows(const Tensor& from, const Tensor& to) {
  const auto* source = from.as<From>();
  auto* target = to.as<To>();
  const int64_t rows = from.shape[0], columns = from.shape[1];
#pragma omp parallel for schedule(static) if (rows * columns > 1 << 14)
  for (int64_t r = 0; r < rows; ++r) {
    const From* in = source + r * from.stride[0];
    To* out = target + r * to.stride[0];
    for (int64_t i = 0; i < columns; ++i) out[i] = To(in[i]);
  }
}

// The fp32 copy, in `memory`, of rows and columns of a stored matrix; `transpose` says that the
// matrix is stored with its axes swapped.
Tensor widen(const Tensor& x, bool transpose, int64_t row, int64_t rows, int64_t column,
             int64_t columns, const Tensor& memory) {
  if (transpose) {
    std::swap(row, column);
    std::swap(rows, columns);
  }
  const Tensor wide(memory.data, DType::f32, {rows, columns});
  convert_rows<float, bf16>(x.slice(0, row, row + rows).slice(1, column, column + columns), wide);
  return wide;
}

struct Tiles {
  Tensor a, b, c, bias;
};

Tensor widen_bias(const Tensor& bias, Scratch::Scope& scope) {
  if (!bias || bias.dtype == DType::f32) return bias;
  const Tensor wide = scope.allocate(bias.shape, DType::f32);
  const Shape row{1, bias.shape[0]};
  convert_rows<float, bf16>(bias.view(row), wide.view(row));
  return wide;
}

// One tile of c: the sum over all tiles of the inner axis, kept in fp32 to its end.
void multiply_tile(const Context& context, const Tensor& a, const Tensor& b, const Tensor& c,
                   int64_t row, int64_t column, const Tiles& tiles, MatmulOptions options) {
  const int64_t rows = c.shape[0], columns = c.shape[1];
  const int64_t inner = a.shape[options.transpose_a ? 0 : 1];
  const bool rounds = c.dtype == DType::bf16;
  const Tensor sum = rounds ? Tensor(tiles.c.data, DType::f32, {rows, columns}) : c;
  if (rounds && options.accumulate) convert_rows<float, bf16>(c, sum);
  if (tiles.bias) options.bias = tiles.bias.slice(0, column, column + columns);
  for (int64_t k = 0; k < inner; k += tile) {
    const int64_t depth = std::min(tile, inner - k);
    const Tensor left = widen(a, options.transpose_a, row, rows, k, depth, tiles.a);
    const Tensor right = widen(b, options.transpose_b, k, depth, column, columns, tiles.b);
    cpu::matmul(context, left, right, sum, options);
    options.accumulate = true;
    options.bias = {};
  }
  if (rounds) convert_rows<bf16, float>(sum, c);
}

}  // namespace

void matmul_widened(const Context& context, const Tensor& a, const Tensor& b, const Tensor& c,
                    const MatmulOptions& options) {
  const int64_t m = c.shape[0], n = c.shape[1];
  const int64_t k = a.shape[options.transpose_a ? 0 : 1];
  const int64_t tile_m = std::min(tile, m), tile_n = std::min(tile, n), tile_k = std::min(tile, k);
  Scratch::Scope scope(context.scratch);
  Tiles tiles{scope.allocate({tile_m, tile_k}, DType::f32),
              scope.allocate({tile_k, tile_n}, DType::f32),
              {},
              widen_bias(options.bias, scope)};
  if (c.dtype == DType::bf16) tiles.c = scope.allocate({tile_m, tile_n}, DType::f32);
  for (int64_t column = 0; column < n; column += tile) {
    for (int64_t row = 0; row < m; row += tile) {
      const Tensor part =
          c.slice(0, row, std::min(m, row + tile)).slice(1, column, std::min(n, column + tile));
      multiply_tile(context, a, b, part, row, column, tiles, options);
    }
  }
}

}  // namespace switchyard::ops::cpu
