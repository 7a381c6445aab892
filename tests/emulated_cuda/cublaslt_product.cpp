#include "tests/emulated_cuda/cublaslt_product.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <vector>

#include "core/half.h"
#include "tests/emulated_cuda/thread_team.h"

namespace emulated {

namespace {

using switchyard::bf16;
using switchyard::f16;

// A tile of D is computed at once: its sums stay in registers.
constexpr int64_t tile_rows = 16, tile_columns = 4;

float read(const void* data, int64_t index, cudaDataType_t type) {
  if (type == CUDA_R_16BF) return static_cast<float>(static_cast<const bf16*>(data)[index]);
  if (type == CUDA_R_16F) return static_cast<float>(static_cast<const f16*>(data)[index]);
  return static_cast<const float*>(data)[index];
}

void write(void* data, int64_t index, cudaDataType_t type, float value) {
  if (type == CUDA_R_16BF) {
    static_cast<bf16*>(data)[index] = bf16(value);
  } else if (type == CUDA_R_16F) {
    static_cast<f16*>(data)[index] = f16(value);
  } else {
    static_cast<float*>(data)[index] = value;
  }
}

float round_to_tf32(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7f800000u) == 0x7f800000u) return value;
  return std::bit_cast<float>((bits + 0x1000u) & ~0x1fffu);
}

double gelu(double x) {
  return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}

double gelu_slope(double x) {
  const double t = std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x));
  const double du = 0.7978845608028654 * (1 + 3 * 0.044715 * x * x);
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * du;
}

// An operand as panels [outer / width][inner][width] of fp32, filled up with zeros: `outer` is the
// axis that D shares with it.
std::vector<float> pack(const void* data, const LtMatrix& x, bool outer_is_rows, int64_t width,
                        bool tf32) {
  const int64_t outer = outer_is_rows ? x.rows : x.columns;
  const int64_t inner = outer_is_rows ? x.columns : x.rows;
  const int64_t panels = (outer + width - 1) / width;
  std::vector<float> packed(static_cast<size_t>(panels * inner * width));
  for (int64_t column = 0; column < x.columns; ++column) {
    for (int64_t row = 0; row < x.rows; ++row) {
      const int64_t o = outer_is_rows ? row : column, i = outer_is_rows ? column : row;
      const float value = read(data, column * x.ld + row, x.type);
      packed[static_cast<size_t>((o / width * inner + i) * width + o % width)] =
          tf32 ? round_to_tf32(value) : value;
    }
  }
  return packed;
}

struct Packed {
  std::vector<float> a, b;
};

struct Tile {
  float sums[tile_columns][tile_rows] = {};
};

Tile multiply(const float* a, const float* b, int64_t begin, int64_t end) {
  Tile tile;
  for (int64_t i = begin; i < end; ++i) {
    for (int64_t column = 0; column < tile_columns; ++column) {
      for (int64_t row = 0; row < tile_rows; ++row) {
        tile.sums[column][row] += a[i * tile_rows + row] * b[i * tile_columns + column];
      }
    }
  }
  return tile;
}

// One element with its epilogue.
void finish(const LtProduct& p, int64_t row, int64_t column, float sum) {
  const int64_t at = column * p.d.ld + row;
  float value = p.alpha * sum;
  if (p.beta != 0) value += p.beta * read(p.c_data, at, p.d.type);
  if (p.has(CUBLASLT_EPILOGUE_BIAS)) value += read(p.bias, row, p.d.type);
  const int64_t aux_at = column * p.ld_aux + row;
  if (p.has(CUBLASLT_EPILOGUE_GELU_AUX)) {
    write(p.aux, aux_at, p.d.type, value);
    value = static_cast<float>(gelu(value));
  } else if (p.has(CUBLASLT_EPILOGUE_DGELU)) {
    value *= static_cast<float>(gelu_slope(read(p.aux, aux_at, p.d.type)));
  }
  write(p.d_data, at, p.d.type, value);
}

void compute_tile(const LtProduct& p, const Packed& packed, int64_t row, int64_t column) {
  const int64_t inner = p.inner();
  const float* a = packed.a.data() + row * inner;
  const float* b = packed.b.data() + column * inner;
  Tile total = multiply(a, b, 0, inner / p.splits);
  for (int split = 1; split < p.splits; ++split) {
    const Tile part = multiply(a, b, inner * split / p.splits, inner * (split + 1) / p.splits);
    for (int64_t i = 0; i < tile_columns * tile_rows; ++i) {
      total.sums[i / tile_rows][i % tile_rows] += part.sums[i / tile_rows][i % tile_rows];
    }
  }
  for (int64_t j = 0; j < std::min(tile_columns, p.d.columns - column); ++j) {
    for (int64_t i = 0; i < std::min(tile_rows, p.d.rows - row); ++i) {
      finish(p, row + i, column + j, total.sums[j][i]);
    }
  }
}

// bias[i] = the sum along the inner axis; what was there is lost.
void sum_operand(const LtProduct& p, const std::vector<float>& packed, int64_t outer,
                 int64_t width) {
  const int64_t inner = p.inner();
  for (int64_t o = 0; o < outer; ++o) {
    const float* panel = packed.data() + o / width * inner * width + o % width;
    float sum = 0;
    for (int64_t i = 0; i < inner; ++i) sum += panel[i * width];
    write(p.bias, o, p.d.type, sum);
  }
}

}  // namespace

int64_t size_of(cudaDataType_t type) {
  if (type == CUDA_R_32F) return 4;
  return type == CUDA_R_16BF || type == CUDA_R_16F ? 2 : 0;
}

int64_t LtMatrix::bytes() const { return ((columns - 1) * ld + rows) * size_of(type); }

void compute(const LtProduct& p) {
  const Packed packed{pack(p.a_data, p.a, !p.transpose_a, tile_rows, p.tf32),
                      pack(p.b_data, p.b, p.transpose_b, tile_columns, p.tf32)};
  if (p.has(CUBLASLT_EPILOGUE_BGRADA)) sum_operand(p, packed.a, p.d.rows, tile_rows);
  if (p.has(CUBLASLT_EPILOGUE_BGRADB)) sum_operand(p, packed.b, p.d.columns, tile_columns);
  std::atomic<int64_t> next{0};
  const auto work = [&] {
    for (int64_t row = tile_rows * next++; row < p.d.rows; row = tile_rows * next++) {
      for (int64_t column = 0; column < p.d.columns; column += tile_columns) {
        compute_tile(p, packed, row, column);
      }
    }
  };
  const bool large = p.d.rows > tile_rows && p.d.rows * p.d.columns * p.inner() > 1 << 18;
  if (large) {
    run_on_team(work);
  } else {
    work();
  }
}

}  // namespace emulated
