#include "core/error.h"
#include "core/ops/backends.h"
#include "core/ops/norm/arguments.h"

namespace switchyard::ops {

namespace {

using namespace switchyard::cuda;

template <class T>
struct ForwardArguments {
  const T* residual;
  const T* x;  // may be null, and then sum
  T* sum;
  T* y;
  float* mean;  // null for RMSNorm
  float* reciprocal;
  NormParameter<T> bias, weight, shift;
  NormMask mask;
  float epsilon;
  int64_t rows;
  int hidden;
};

// sum = residual + dropout(x + bias), rounded as it is stored.
template <class T, int width, int packs, class Team>
__device__ void add_branch(const ForwardArguments<T>& t, const Team& team, int64_t row,
                           NormRow<T, width, packs>& sum) {
  const int pieces = t.hidden / width;
  const int64_t at = row * t.hidden;
  const NormRow<T, width, packs> x(team, t.x + at, pieces);
  const uint64_t first =
      t.mask.row_ids == nullptr ? 0 : static_cast<uint64_t>(t.mask.row_ids[row]) * t.hidden;
  for_pieces<packs>(team, pieces, [&](int p, int piece) {
    float branch[width];
    const auto from = x.get(p, piece);
    for (int j = 0; j < width; ++j) branch[j] = to_float(from[j]);
    if (t.bias.given()) {
      float bias[width];
      t.bias.load(piece, bias);
      for (int j = 0; j < width; ++j) branch[j] += bias[j];
    }
    if (t.mask.row_ids != nullptr) t.mask.apply(first + piece * width, branch);
    Group<T, width> result = sum.get(p, piece);
    for (int j = 0; j < width; ++j) result[j] = from_float<T>(to_float(result[j]) + branch[j]);
    store_group(t.sum + at + piece * width, result);
    sum.set(p, result);
  });
  sum.is_at(t.sum + at);
}

struct Statistics {
  float mean, reciprocal;
};

// The variance takes a second pass over the registers, since E[x^2] - E[x]^2 cancels.
template <class T, int width, int packs, class Team>
__device__ Statistics statistics_of(const ForwardArguments<T>& t, const Team& team, int64_t row,
                                    const NormRow<T, width, packs>& sum) {
  const int pieces = t.hidden / width;
  const auto n = static_cast<float>(t.hidden);
  float mean = 0, squares = 0;
  if (t.mean != nullptr) {
    for_pieces<packs>(team, pieces, [&](int p, int piece) {
      const auto from = sum.get(p, piece);
      for (int j = 0; j < width; ++j) mean += to_float(from[j]);
    });
    team.sum(mean);
    mean /= n;
  }
  for_pieces<packs>(team, pieces, [&](int p, int piece) {
    const auto from = sum.get(p, piece);
    for (int j = 0; j < width; ++j) {
      const float centred = to_float(from[j]) - mean;
      squares += centred * centred;
    }
  });
  team.sum(squares);
  const float reciprocal = 1.0f / sqrtf(squares / n + t.epsilon);
  if (team.member == 0) {
    if (t.mean != nullptr) t.mean[row] = mean;
    t.reciprocal[row] = reciprocal;
  }
  return {mean, reciprocal};
}

// Least traffic, in elements of T: residual, x, sum and y once each; weight none: not y; x none:
// residual and y.
template <class T, int width, int packs, class Team>
__device__ void forward_rows(const ForwardArguments<T>& t) {
  const Team team;
  const int pieces = t.hidden / width;
  for (int64_t row = team.first_row(); row < t.rows; row += team.rows_at_once()) {
    NormRow<T, width, packs> sum(team, t.residual + row * t.hidden, pieces);
    if (t.x != nullptr) add_branch(t, team, row, sum);
    if (!t.weight.given()) continue;
    const Statistics s = statistics_of(t, team, row, sum);
    for_pieces<packs>(team, pieces, [&](int p, int piece) {
      float weight[width], shift[width] = {};
      t.weight.load(piece, weight);
      if (t.shift.given()) t.shift.load(piece, shift);
      Group<T, width> y = sum.get(p, piece);
      for (int j = 0; j < width; ++j) {
        y[j] = from_float<T>((to_float(y[j]) - s.mean) * s.reciprocal * weight[j] + shift[j]);
      }
      store_group(t.y + row * t.hidden + piece * width, y);
    });
  }
}

template <class T, int packs>
__global__ void __launch_bounds__(128, 4) residual_norm_forward_warps(ForwardArguments<T> t) {
  t.mask.key = in_this_step(t.mask.key);
  forward_rows<T, Pack<T>::size, packs, WarpTeam>(t);
}
template <class T, int width, int packs>
__global__ void __launch_bounds__(norm_forward_residents(packs).threads,
                                  norm_forward_residents(packs).blocks)
    residual_norm_forward_blocks(ForwardArguments<T> t) {
  t.mask.key = in_this_step(t.mask.key);
  forward_rows<T, width, packs, BlockTeam>(t);
}

template <class T>
auto forward_kernel(const NormLayout& layout) -> void (*)(ForwardArguments<T>) {
  constexpr int size = Pack<T>::size;
  if (layout.warp_a_row) {
    if (layout.packs == 1) return residual_norm_forward_warps<T, 1>;
    if (layout.packs == 2) return residual_norm_forward_warps<T, 2>;
    if (layout.packs == 3) return residual_norm_forward_warps<T, 3>;
    return residual_norm_forward_warps<T, 4>;
  }
  if (layout.packs == 2) return residual_norm_forward_blocks<T, size, 2>;
  if (layout.packs == 4) return residual_norm_forward_blocks<T, size, 4>;
  return layout.width == 1 ? residual_norm_forward_blocks<T, 1, 0>
                           : residual_norm_forward_blocks<T, size, 0>;
}

template <class T>
void forward_as(const Context& context, const ResidualNorm& t) {
  const int64_t rows = t.residual.shape[0], hidden = t.residual.shape[1];
  const NormLayout layout =
      norm_layout_of<T>(hidden, {t.residual, t.x, t.sum, t.y, t.bias, t.weight, t.shift});
  const ForwardArguments<T> arguments{
      .residual = t.residual.as<T>(),
      .x = data_or_null<T>(t.x),
      .sum = data_or_null<T>(t.sum),
      .y = data_or_null<T>(t.y),
      .mean = t.kind == Norm::layer ? data_or_null<float>(t.mean) : nullptr,
      .reciprocal = data_or_null<float>(t.reciprocal),
      .bias = norm_parameter<T>(t.bias),
      .weight = norm_parameter<T>(t.weight),
      .shift = norm_parameter<T>(t.shift),
      .mask = t.x ? norm_mask(t.dropout) : NormMask{},
      .epsilon = t.epsilon,
      .rows = rows,
      .hidden = static_cast<int>(hidden)};
  launch("residual_norm_forward", forward_kernel<T>(layout), norm_forward_launch(layout, rows),
         context.stream, arguments);
}

}  // namespace

void cuda::residual_norm_forward(const Context& context, const ResidualNorm& t) {
  if (t.residual.elements() == 0) return;
  with_floating(t.residual.dtype, [&]<class T>() { forward_as<T>(context, t); });
}

}  // namespace switchyard::ops
