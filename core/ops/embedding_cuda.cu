#include <algorithm>

#include "core/cuda/column_sums.h"
#include "core/ops/backends.h"
#include "core/ops/embedding.h"
#include "core/ops/token_order.h"

namespace switchyard::ops {

namespace {

using namespace switchyard::cuda;

// The part of a table that is here.
struct TableRows {
  const int32_t* ids;
  int64_t first_row, rows;

  // The row of a token, or -1 where it is elsewhere.
  __device__ int64_t of(int64_t token) const {
    const int64_t row = ids[token] - first_row;
    return row >= 0 && row < rows ? row : -1;
  }
};

// Rows as units of bytes; strides in units.
template <class Unit>
__global__ void embedding_forward_kernel(RowWalk walk, TableRows here, const Unit* table,
                                         int64_t table_stride, Unit* y, int64_t y_stride) {
  walk_rows<1>(
      walk,
      [=]<int n>(int64_t token, int64_t i) {
        const int64_t row = here.of(token);
        return row < 0 ? Unit{} : table[row * table_stride + i];
      },
      [=]<int n>(int64_t token, int64_t i, Unit unit) { y[token * y_stride + i] = unit; });
}

template <class Unit>
void forward_as(const Context& context, const Tensor& ids, const Tensor& table, int64_t first_row,
                const Tensor& y) {
  const auto in_unit = static_cast<int64_t>(sizeof(Unit)) / size_of(y.dtype);
  launch_walk("embedding_forward", embedding_forward_kernel<Unit>,
              row_walk(y.shape[0], y.shape[1] / in_unit, 1), context.stream,
              TableRows{ids.as<int32_t>(), first_row, table.shape[0]},
              static_cast<const Unit*>(table.data), table.stride[0] / in_unit,
              static_cast<Unit*>(y.data), y.stride[0] / in_unit);
}

template <class T, int n>
struct RowAndTable {
  Group<T, n> row, table;
};

template <class T, int width>
__global__ void add_positions_kernel(RowWalk walk, const T* table, int64_t table_stride,
                                     int64_t positions, int64_t first, T* x, int64_t stride) {
  walk_rows<width>(
      walk,
      [=]<int n>(int64_t row, int64_t i) {
        const int64_t position = (first + row) % positions;
        return RowAndTable<T, n>{load_group<n>(x + row * stride + i),
                                 load_group<n>(table + position * table_stride + i)};
      },
      [=]<int n>(int64_t row, int64_t i, RowAndTable<T, n> of) {
        for (int j = 0; j < n; ++j) {
          of.row[j] = from_float<T>(to_float(of.row[j]) + to_float(of.table[j]));
        }
        store_group(x + row * stride + i, of.row);
      });
}

// A thread adds up the rows of its columns of one position.
template <class T, int width>
__global__ void sum_positions_kernel(RowWalk walk, const T* dx, int64_t stride, int64_t rows,
                                     int64_t first, float* dtable, int64_t dtable_stride) {
  walk_rows<width>(
      walk,
      [=]<int n>(int64_t position, int64_t i) {
        constexpr int unroll = 4;
        const T* from = dx + i;
        Group<float, n> sum = load_group<n>(dtable + position * dtable_stride + i);
        int64_t row = (position - first % walk.rows + walk.rows) % walk.rows;
        for (; row + (unroll - 1) * walk.rows < rows; row += unroll * walk.rows) {
          Group<T, n> held[unroll];
#pragma unroll
          for (int u = 0; u < unroll; ++u) {
            held[u] = load_group<n>(from + (row + u * walk.rows) * stride);
          }
#pragma unroll
          for (int u = 0; u < unroll; ++u) {
            for (int j = 0; j < n; ++j) sum[j] += to_float(held[u][j]);
          }
        }
        for (; row < rows; row += walk.rows) {
          const Group<T, n> held = load_group<n>(from + row * stride);
          for (int j = 0; j < n; ++j) sum[j] += to_float(held[j]);
        }
        return sum;
      },
      [=]<int n>(int64_t position, int64_t i, Group<float, n> sum) {
        store_group(dtable + position * dtable_stride + i, sum);
      });
}

// The backward pass. Tokens are ordered by their rows (token_order.h) and cut into pieces of equal
// length, so that no token's frequency decides how much a block has to do. A block adds up the runs
// of equal rows in its piece. A run that begins and ends in the piece goes to its row. One that
// goes on in the next piece, or began in one before, goes to `tails` or `heads`: one sum of each
// kind for a piece. A second kernel adds these in order.
constexpr int most_piece = 512;

struct Pieces {
  const uint32_t* rows;    // [count], ascending; `elsewhere` and more are left out
  const uint32_t* tokens;  // [count]
  int64_t count;
  uint32_t elsewhere;
  int length;
  int64_t hidden;
  float* heads;  // [pieces, hidden]
  float* tails;  // [pieces, hidden]

  static constexpr uint32_t none = ~0u;
  __device__ int64_t begin(int64_t piece) const { return piece * length; }
  __device__ int64_t end(int64_t piece) const {
    return begin(piece) + length < count ? begin(piece) + length : count;
  }
  __device__ uint32_t before(int64_t piece) const {
    return piece > 0 ? rows[begin(piece) - 1] : none;
  }
  __device__ uint32_t after(int64_t piece) const {
    return end(piece) < count ? rows[end(piece)] : none;
  }
};

struct TableGradient {
  float* data;
  int64_t stride;
};

template <int n>
__device__ inline void add_group(float* to, const Group<float, n>& sum) {
  Group<float, n> group = load_group<n>(to);
#pragma unroll
  for (int j = 0; j < n; ++j) group[j] += sum[j];
  store_group(to, group);
}

// What one thread does: n columns of one piece, whose rows and tokens are in shared memory.
template <class T, int n>
__device__ inline void add_runs(const Pieces& pieces, int64_t piece, const uint32_t* rows,
                                const uint32_t* tokens, const T* dy, int64_t dy_stride,
                                TableGradient dtable, int64_t column) {
  constexpr int unroll = 4;
  const auto size = static_cast<int>(pieces.end(piece) - pieces.begin(piece));
  const uint32_t after = pieces.after(piece);
  bool began_before = pieces.before(piece) == rows[0];
  Group<float, n> sum = {};
  for (int first = 0; first < size; first += unroll) {
    Group<T, n> held[unroll] = {};
#pragma unroll
    for (int u = 0; u < unroll; ++u) {
      if (first + u < size && rows[first + u] < pieces.elsewhere) {
        held[u] = load_group<n>(dy + tokens[first + u] * dy_stride + column);
      }
    }
#pragma unroll
    for (int u = 0; u < unroll; ++u) {
      const int i = first + u;
      if (i >= size || rows[i] >= pieces.elsewhere) return;
#pragma unroll
      for (int j = 0; j < n; ++j) sum[j] += to_float(held[u][j]);
      const bool last = i + 1 == size;
      if ((last ? after : rows[i + 1]) == rows[i] && !last) continue;
      if (began_before) {
        store_group(pieces.heads + piece * pieces.hidden + column, sum);
      } else if (last && after == rows[i]) {
        store_group(pieces.tails + piece * pieces.hidden + column, sum);
      } else {
        add_group(dtable.data + rows[i] * dtable.stride + column, sum);
      }
      began_before = false;
      sum = {};
    }
  }
}

template <class T, int n>
__global__ void add_pieces_kernel(Pieces pieces, const T* dy, int64_t dy_stride,
                                  TableGradient dtable) {
  __shared__ uint32_t rows[most_piece], tokens[most_piece];
  for (int64_t piece = blockIdx.x; pieces.begin(piece) < pieces.count; piece += gridDim.x) {
    __syncthreads();  // the piece before may still be read
    const int64_t begin = pieces.begin(piece), size = pieces.end(piece) - begin;
    for (int i = threadIdx.x; i < size; i += blockDim.x) {
      rows[i] = pieces.rows[begin + i];
      tokens[i] = pieces.tokens[begin + i];
    }
    __syncthreads();
    const int64_t step = int64_t{n} * blockDim.x;
    for (int64_t column = blockIdx.y * step + threadIdx.x * n; column < pieces.hidden;
         column += gridDim.y * step) {
      add_runs<T, n>(pieces, piece, rows, tokens, dy, dy_stride, dtable, column);
    }
  }
}

// The first place of `rows` in [begin, end) that does not hold `row`.
__device__ inline int64_t end_of_run(const uint32_t* rows, int64_t begin, int64_t end,
                                     uint32_t row) {
  while (begin < end) {
    const int64_t middle = begin + (end - begin) / 2;
    if (rows[middle] == row) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

constexpr int run_threads = 256;

// Adds up each run that goes on from one piece to the next: the tail of its first piece and the
// heads of those after it. A block has the first pieces with its number.
template <int n>
__global__ void add_long_runs_kernel(Pieces pieces, TableGradient dtable) {
  for (int64_t piece = blockIdx.x; pieces.begin(piece) < pieces.count; piece += gridDim.x) {
    const int64_t end = pieces.end(piece);
    const uint32_t row = pieces.rows[end - 1];
    if (row >= pieces.elsewhere || pieces.after(piece) != row) continue;
    if (pieces.before(piece) == row && pieces.rows[pieces.begin(piece)] == row) continue;
    const int64_t last = (end_of_run(pieces.rows, end, pieces.count, row) - 1) / pieces.length;
    constexpr int64_t strip = warp_size * n;
    for (int64_t first = blockIdx.y * strip; first < pieces.hidden; first += gridDim.y * strip) {
      const int64_t column = first + threadIdx.x % warp_size * n;
      const bool has_column = column < pieces.hidden;
      const float* heads = pieces.heads + (piece + 1) * pieces.hidden + column;
      Group<float, n> sum = sum_rows<n, run_threads / warp_size>(has_column ? heads : nullptr,
                                                                 last - piece, pieces.hidden);
      if (threadIdx.x >= warp_size || !has_column) continue;
      const auto tail = load_group<n>(pieces.tails + piece * pieces.hidden + column);
#pragma unroll
      for (int j = 0; j < n; ++j) sum[j] = tail[j] + sum[j];
      add_group(dtable.data + row * dtable.stride + column, sum);
    }
  }
}

// Of at least 32 tokens and, where there are many, about 2048 pieces: the heads and tails of a long
// run are added by few blocks.
int piece_length(int64_t tokens) {
  return static_cast<int>(std::clamp<int64_t>(tokens / 2048, 32, most_piece));
}

template <class T, int n>
void launch_backward(const Context& context, const Pieces& pieces, const Tensor& dy,
                     TableGradient dtable) {
  const int64_t count = (pieces.count + pieces.length - 1) / pieces.length;
  const int64_t accesses = (pieces.hidden + n - 1) / n;
  const int64_t warps = (accesses + warp_size - 1) / warp_size;
  LaunchShape shape =
      row_launch(count, static_cast<int>(std::min<int64_t>(warps * warp_size, 256)));
  shape.y = std::min((accesses + shape.threads - 1) / shape.threads, most_blocks_yz);
  launch("embedding_backward", add_pieces_kernel<T, n>, shape, context.stream, pieces, dy.as<T>(),
         dy.stride[0], dtable);
  constexpr int width = n == 1 ? 1 : 4;
  shape = row_launch(count, run_threads);
  shape.y = std::clamp<int64_t>(pieces.hidden / (warp_size * width), 1, 16);
  launch("embedding_backward", add_long_runs_kernel<width>, shape, context.stream, pieces, dtable);
}

}  // namespace

void cuda::embedding_forward(const Context& context, const Tensor& ids, const Tensor& table,
                             int64_t first_row, const Tensor& y) {
  with_floating(y.dtype, [&]<class T>() {
    if (takes_packs<T>(table.data, table.stride[0]) && takes_packs<T>(y.data, y.stride[0]) &&
        y.shape[1] % Pack<T>::size == 0) {
      forward_as<uint4>(context, ids, table, first_row, y);
    } else {
      forward_as<T>(context, ids, table, first_row, y);
    }
  });
}

void cuda::position_embedding_forward(const Context& context, const Tensor& table, int64_t first,
                                      const Tensor& x) {
  with_floating(x.dtype, [&]<class T>() {
    const bool packs =
        takes_packs<T>(table.data, table.stride[0]) && takes_packs<T>(x.data, x.stride[0]);
    with_width<T>(packs, [&]<int width>() {
      launch_walk("position_embedding_forward", add_positions_kernel<T, width>,
                  row_walk(x.shape[0], x.shape[1], width), context.stream, table.as<T>(),
                  table.stride[0], table.shape[0], first, x.as<T>(), x.stride[0]);
    });
  });
}

void cuda::position_embedding_backward(const Context& context, const Tensor& dx, int64_t first,
                                       const Tensor& dtable) {
  with_floating(dx.dtype, [&]<class T>() {
    const bool packs =
        takes_packs<T>(dx.data, dx.stride[0]) && takes_packs<float>(dtable.data, dtable.stride[0]);
    with_width<T>(packs, [&]<int width>() {
      launch_walk("position_embedding_backward", sum_positions_kernel<T, width>,
                  row_walk(dtable.shape[0], dtable.shape[1], width), context.stream, dx.as<T>(),
                  dx.stride[0], dx.shape[0], first, dtable.as<float>(), dtable.stride[0]);
    });
  });
}

void cuda::embedding_backward(const Context& context, const Tensor& ids, const Tensor& dy,
                              int64_t first_row, const Tensor& dtable) {
  const int64_t count = ids.shape[0], hidden = dtable.shape[1];
  if (count == 0 || hidden == 0) return;
  Scratch::Scope scope(context.scratch);
  const TokenOrder order = order_by_row(context, scope, ids, first_row, dtable.shape[0]);
  const int length = piece_length(count);
  const int64_t pieces = (count + length - 1) / length;
  const auto sums = [&] { return scope.allocate({pieces, hidden}, DType::f32).as<float>(); };
  const Pieces cut{order.rows, order.tokens, count,  static_cast<uint32_t>(dtable.shape[0]),
                   length,     hidden,       sums(), sums()};
  const TableGradient to{dtable.as<float>(), dtable.stride[0]};
  with_floating(dy.dtype, [&]<class T>() {
    const bool packs = takes_packs<T>(dy.data, dy.stride[0]) &&
                       takes_packs<float>(dtable.data, dtable.stride[0]) &&
                       hidden % Pack<T>::size == 0;
    with_width<T>(packs, [&]<int n>() { launch_backward<T, n>(context, cut, dy, to); });
  });
}

}  // namespace switchyard::ops
