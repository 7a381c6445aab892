#include "core/cuda/column_sums.h"
#include "core/error.h"
#include "core/ops/backends.h"
#include "core/ops/norm/arguments.h"

namespace switchyard::ops {

namespace {

using namespace switchyard::cuda;

enum Gradient { of_weight, of_shift, of_bias, gradient_count };

// Where each gradient's sums begin among a block's sums; -1: it is not wanted.
struct SumOffsets {
  int at[gradient_count] = {-1, -1, -1};
};

template <class T>
struct BackwardArguments {
  const T* sum;
  const T* dy;
  const T* above;  // may be null
  T* dsum;
  T* dx;              // may be null
  const float* mean;  // null for RMSNorm
  const float* reciprocal;
  NormParameter<T> weight;  // not given: no norm
  NormMask mask;
  SumOffsets offsets;
  int sums;         // of the gradients wanted: a multiple of hidden
  float* partials;  // [blocks, sums]
  bool sums_in_shared;
  int64_t rows;
  int hidden;
};

// A block's sums over its rows, in shared memory or, where rows are too long for it, in partials.
// A piece of 16-bit elements has two quads of floats; the first quads of all pieces come first, so
// that neighbouring threads meet no bank conflicts.
template <int width>
struct BlockSums {
  float* memory;
  SumOffsets offsets;
  int pieces;

  // Adds v(j) for each element j of a piece.
  template <Gradient gradient, class Values>
  __device__ void add(int, int piece, const Values& v) const {
    const int offset = offsets.at[gradient];
    if (offset < 0) return;
    if constexpr (width == 1) {
      memory[offset + piece] += v(0);
    } else {
      for (int quad = 0; quad < width / 4; ++quad) {
        float* at = memory + offset + (quad * pieces + piece) * 4;
        Pack<float> total = load_pack(at);
        for (int j = 0; j < 4; ++j) total[j] += v(quad * 4 + j);
        store_pack(at, total);
      }
    }
  }
};

// Element i of a gradient's sums belongs to this column.
__device__ inline int column_of(int i, int hidden, int width) {
  if (width <= 4) return i;
  const int quads = hidden / width;  // in front of the second ones
  const int quad = i / 4;
  return quad % quads * width + quad / quads * 4 + i % 4;
}

// A thread's sums over its rows, in registers.
template <int width, int packs>
struct HeldSums {
  float held[gradient_count][packs][width] = {};

  template <Gradient gradient, class Values>
  __device__ void add(int p, int, const Values& v) {
    for (int j = 0; j < width; ++j) held[gradient][p][j] += v(j);
  }
  template <Gradient gradient, class Team>
  __device__ void give(const Team& team, const BlockSums<width>& sums) const {
    for_pieces<packs>(team, sums.pieces, [&](int p, int piece) {
      sums.template add<gradient>(p, piece, [&](int j) { return held[gradient][p][j]; });
    });
  }
};

// d norm = reciprocal * (g - mean(g) - standard * mean(g * standard)) with g = dy * weight and
// standard = (sum - mean) * reciprocal; RMSNorm has no mean(g). Rewritten as
// reciprocal * g + slope * standard + offset.
struct Line {
  float mean, reciprocal, slope, offset;
};
template <class T, int width, int packs, class Team>
__device__ Line line_of(const BackwardArguments<T>& t, const Team& team, int64_t row,
                        const NormRow<T, width, packs>& sum, const NormRow<T, width, packs>& dy) {
  Line line{t.mean != nullptr ? t.mean[row] : 0.0f, t.reciprocal[row], 0, 0};
  float along = 0, total = 0;
  for_pieces<packs>(team, t.hidden / width, [&](int p, int piece) {
    float weight[width];
    t.weight.load(piece, weight);
    const auto x = sum.get(p, piece);
    const auto d = dy.get(p, piece);
    for (int j = 0; j < width; ++j) {
      const float g = to_float(d[j]) * weight[j];
      along += g * ((to_float(x[j]) - line.mean) * line.reciprocal);
      total += g;
    }
  });
  team.sum(along, total);
  line.slope = -line.reciprocal * along / static_cast<float>(t.hidden);
  if (t.mean != nullptr) line.offset = -line.reciprocal * total / static_cast<float>(t.hidden);
  return line;
}

// From the gradient d of a piece of `sum`: dsum, dx and the bias's gradient.
template <int width, class T, class Sums>
__device__ void store_gradient(const BackwardArguments<T>& t, int64_t row, int p, int piece,
                               float (&d)[width], Sums& sums) {
  const int64_t at = row * t.hidden + piece * width;
  Group<T, width> result;
  for (int j = 0; j < width; ++j) result[j] = from_float<T>(d[j]);
  if (t.weight.given() || t.dsum != t.above) store_group(t.dsum + at, result);
  if (t.dx == nullptr && t.offsets.at[of_bias] < 0) return;
  for (int j = 0; j < width; ++j) d[j] = to_float(result[j]);
  if (t.mask.row_ids != nullptr) {
    const auto id = static_cast<uint64_t>(t.mask.row_ids[row]);
    t.mask.apply(id * t.hidden + piece * width, d);
  }
  sums.template add<of_bias>(p, piece, [&](int j) { return d[j]; });
  if (t.dx == nullptr || t.dx == t.dsum) return;
  for (int j = 0; j < width; ++j) result[j] = from_float<T>(d[j]);
  store_group(t.dx + at, result);
}

template <class T, int width, int packs, class Team, class Sums>
__device__ void norm_row(const BackwardArguments<T>& t, Team team, int64_t row, Sums& sums) {
  team.member += static_cast<int>(unknown_zero(row));  // or addresses of all pieces are kept
  const int64_t at = row * t.hidden;
  const int pieces = t.hidden / width;
  NormRow<T, width, packs> sum(team, t.sum + at, pieces), dy(team, t.dy + at, pieces);
  // Read in time, though used late.
  const bool any_above = t.above != nullptr;
  const NormRow<T, width, packs> above(team, any_above ? t.above + at : nullptr,
                                       any_above ? pieces : 0);
  const Line line = line_of(t, team, row, sum, dy);
  const unsigned zero = unknown_zero(row);
  sum.forget(zero);
  dy.forget(zero);
  for_pieces<packs>(team, pieces, [&](int p, int piece) {
    float weight[width], d[width];
    t.weight.load(piece + static_cast<int>(zero), weight);  // from the cache, again
    const auto from = sum.get(p, piece);
    const auto of_y = dy.get(p, piece);
    const auto standard = [&](int j) { return (to_float(from[j]) - line.mean) * line.reciprocal; };
    sums.template add<of_shift>(p, piece, [&](int j) { return to_float(of_y[j]); });
    sums.template add<of_weight>(p, piece, [&](int j) { return to_float(of_y[j]) * standard(j); });
    for (int j = 0; j < width; ++j) {
      d[j] = line.reciprocal * (to_float(of_y[j]) * weight[j]) +
             (line.slope * standard(j) + line.offset);
    }
    if (any_above) {
      const auto more = above.get(p, piece);
      for (int j = 0; j < width; ++j) d[j] += to_float(more[j]);
    }
    store_gradient(t, row, p, piece, d, sums);
  });
}

// Without a norm: dsum is what reaches it from above.
template <class T, int width, int packs, class Team, class Sums>
__device__ void plain_row(const BackwardArguments<T>& t, const Team& team, int64_t row,
                          const Sums& sums) {
  const int pieces = t.hidden / width;
  const NormRow<T, width, packs> above(team, t.above + row * t.hidden, pieces);
  for_pieces<packs>(team, pieces, [&](int p, int piece) {
    float d[width];
    const auto from = above.get(p, piece);
    for (int j = 0; j < width; ++j) d[j] = to_float(from[j]);
    store_gradient(t, row, p, piece, d, sums);
  });
}

template <int width, class T>
__device__ BlockSums<width> zeroed_sums(const BackwardArguments<T>& t) {
  float* memory = t.sums_in_shared ? dynamic_shared<float>()
                                   : t.partials + static_cast<int64_t>(blockIdx.x) * t.sums;
  for (int i = static_cast<int>(threadIdx.x); i < t.sums; i += static_cast<int>(blockDim.x)) {
    memory[i] = 0;
  }
  __syncthreads();
  return {memory, t.offsets, t.hidden / width};
}

template <class T, class Sums>
__device__ void store_sums(const BackwardArguments<T>& t, const Sums& sums) {
  __syncthreads();
  if (!t.sums_in_shared) return;
  float* to = t.partials + static_cast<int64_t>(blockIdx.x) * t.sums;
  for (int i = static_cast<int>(threadIdx.x); i < t.sums; i += static_cast<int>(blockDim.x)) {
    to[i] = sums.memory[i];
  }
}

// Least traffic of these kernels, in elements of T: sum, dy, dsum_above, dsum and, where it is not
// dsum, dx once each; without a norm dsum_above, dsum and dx. The partial sums are few beside them.
template <class T, int packs>
__global__ void __launch_bounds__(norm_backward_warps_threads(packs), 1)
    residual_norm_backward_warps(BackwardArguments<T> t) {
  constexpr int width = Pack<T>::size;
  t.mask.key = in_this_step(t.mask.key);
  const WarpTeam team;
  HeldSums<width, packs> held;
  for (int64_t row = team.first_row(); row < t.rows; row += team.rows_at_once()) {
    norm_row<T, width, packs>(t, team, row, held);
  }
  const auto sums = zeroed_sums<width>(t);
  for (unsigned warp = 0; warp < blockDim.x / warp_size; ++warp) {  // in order
    if (threadIdx.x / warp_size == warp) {
      held.template give<of_weight>(team, sums);
      held.template give<of_shift>(team, sums);
      held.template give<of_bias>(team, sums);
    }
    __syncthreads();
  }
  store_sums(t, sums);
}
template <class T, int width, int packs>
__global__ void __launch_bounds__(norm_backward_residents(packs).threads,
                                  norm_backward_residents(packs).blocks)
    residual_norm_backward_blocks(BackwardArguments<T> t) {
  t.mask.key = in_this_step(t.mask.key);
  const BlockTeam team;
  const auto sums = zeroed_sums<width>(t);
  for (int64_t row = team.first_row(); row < t.rows; row += team.rows_at_once()) {
    norm_row<T, width, packs>(t, team, row, sums);
  }
  store_sums(t, sums);
}
template <class T, int width, int packs>
__global__ void __launch_bounds__(norm_backward_residents(packs).threads,
                                  norm_backward_residents(packs).blocks)
    residual_backward_blocks(BackwardArguments<T> t) {
  t.mask.key = in_this_step(t.mask.key);
  const BlockTeam team;
  const auto sums = zeroed_sums<width>(t);
  for (int64_t row = team.first_row(); row < t.rows; row += team.rows_at_once()) {
    plain_row<T, width, packs>(t, team, row, sums);
  }
  store_sums(t, sums);
}

// The gradients that one kind of sums goes to, in their order among the sums.
struct SumTargets {
  float* to[gradient_count] = {};
};

// to += the sum over blocks, in an order that depends on their number alone.
__global__ void __launch_bounds__(1024)
    add_norm_partials_kernel(const float* partials, int64_t blocks, int sums, int hidden, int width,
                             SumTargets targets) {
  const int i = static_cast<int>(blockIdx.x * warp_size + threadIdx.x % warp_size);
  const auto total = sum_rows<1, 32>(i < sums ? partials + i : nullptr, blocks, sums);
  if (threadIdx.x >= warp_size || i >= sums) return;
  const int target = i / hidden;
  float* to = target == 0 ? targets.to[0] : target == 1 ? targets.to[1] : targets.to[2];
  to[column_of(i % hidden, hidden, width)] += total[0];
}

template <class T>
using BackwardKernel = void (*)(BackwardArguments<T>);

template <class T>
BackwardKernel<T> kernel_with_norm(const NormLayout& layout) {
  constexpr int size = Pack<T>::size;
  if (layout.warp_a_row) {
    if (layout.packs == 1) return residual_norm_backward_warps<T, 1>;
    if (layout.packs == 2) return residual_norm_backward_warps<T, 2>;
    if (layout.packs == 3) return residual_norm_backward_warps<T, 3>;
    return residual_norm_backward_warps<T, 4>;
  }
  if (layout.packs == 2) return residual_norm_backward_blocks<T, size, 2>;
  if (layout.packs == 4) return residual_norm_backward_blocks<T, size, 4>;
  return layout.width == 1 ? residual_norm_backward_blocks<T, 1, 0>
                           : residual_norm_backward_blocks<T, size, 0>;
}

template <class T>
BackwardKernel<T> kernel_without_norm(const NormLayout& layout) {
  constexpr int size = Pack<T>::size;
  if (layout.packs == 2) return residual_backward_blocks<T, size, 2>;
  if (layout.packs == 4) return residual_backward_blocks<T, size, 4>;
  return layout.width == 1 ? residual_backward_blocks<T, 1, 0>
                           : residual_backward_blocks<T, size, 0>;
}

template <class T>
BackwardArguments<T> arguments_of(const ResidualNormBackward& t) {
  return {.sum = data_or_null<T>(t.sum),
          .dy = data_or_null<T>(t.dy),
          .above = data_or_null<T>(t.dsum_above),
          .dsum = t.dsum.as<T>(),
          .dx = data_or_null<T>(t.dx),
          .mean = t.kind == Norm::layer ? data_or_null<float>(t.mean) : nullptr,
          .reciprocal = data_or_null<float>(t.reciprocal),
          .weight = norm_parameter<T>(t.weight),
          .mask = norm_mask(t.dropout),
          .offsets = {},
          .sums = 0,
          .partials = nullptr,
          .sums_in_shared = false,
          .rows = t.dsum.shape[0],
          .hidden = static_cast<int>(t.dsum.shape[1])};
}

template <class T>
void backward_as(const Context& context, const ResidualNormBackward& t) {
  BackwardArguments<T> arguments = arguments_of<T>(t);
  const int64_t rows = arguments.rows, hidden = arguments.hidden;
  const NormLayout layout = norm_layout_of<T>(
      hidden, {t.sum, t.dy, t.dsum_above, t.dsum, t.dx, t.weight}, bool(t.weight));
  SumTargets targets;
  int wanted = 0;
  for (const auto& [gradient, tensor] :
       {std::pair{of_weight, &t.dweight}, {of_shift, &t.dshift}, {of_bias, &t.dbias}}) {
    if (!*tensor) continue;
    targets.to[wanted] = tensor->template as<float>();
    arguments.offsets.at[gradient] = wanted++ * static_cast<int>(hidden);
  }
  const auto shape = norm_backward_launch(layout, rows, hidden, wanted, multiprocessors());
  Scratch::Scope scope(context.scratch);
  arguments.sums = wanted * static_cast<int>(hidden);
  arguments.sums_in_shared = shape.sums_in_shared;
  arguments.partials =
      scope.allocate({shape.partial_floats(hidden, wanted)}, DType::f32).template as<float>();
  const auto kernel = t.weight ? kernel_with_norm<T>(layout) : kernel_without_norm<T>(layout);
  launch("residual_norm_backward", kernel, shape.shape, context.stream, arguments);
  if (wanted == 0) return;
  launch("residual_norm_backward sums", add_norm_partials_kernel,
         {.x = (arguments.sums + 31) / 32, .threads = 1024}, context.stream, arguments.partials,
         shape.shape.x, arguments.sums, arguments.hidden, layout.width, targets);
}

}  // namespace

void cuda::residual_norm_backward(const Context& context, const ResidualNormBackward& t) {
  if (t.dsum.elements() == 0) return;
  with_floating(t.dsum.dtype, [&]<class T>() { backward_as<T>(context, t); });
}

}  // namespace switchyard::ops
