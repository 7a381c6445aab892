#include "core/cuda/kernel.h"
#include "core/error.h"
#include "core/ops/backends.h"
#include "core/ops/cross_entropy.h"
#include "core/ops/cross_entropy_launch.h"

namespace switchyard::ops {

namespace {

using namespace switchyard::cuda;

constexpr int at_most = cross_entropy_most_threads;
constexpr float lowest = -std::numeric_limits<float>::max();  // not infinite: differences of it are

// A block works on a row: logits [rows, columns] whose rows are `stride` elements apart.
template <class T>
struct Rows {
  T* data;
  int64_t stride, rows;
  const int32_t* targets;
  int64_t first_column;
  int columns, valid;

  __device__ T* row(int64_t i) const { return data + i * stride; }
  // The target's column here; -1: it is left out, elsewhere or in the padding.
  __device__ int target(int64_t i) const {
    const int64_t column = targets[i] - first_column;
    return targets[i] >= 0 && column >= 0 && column < valid ? static_cast<int>(column) : -1;
  }
};

// f32 to its last bits; logits of 16 bits are known less well than fast_exp is off.
template <class T>
__device__ inline float exponential(float x) {
  if constexpr (std::is_same_v<T, float>) {
    return expf(x);
  } else {
    return fast_exp(x);
  }
}

// Calls piece(first column, size constant) for all columns, in aligned packs and one by one before
// and behind these. A thread's columns are the same in each call; `backwards` has those last that a
// cache has held longest.
template <bool backwards, class T, class Piece>
__device__ inline void for_columns(const T* row, int columns, const Piece& piece) {
  constexpr int size = Pack<T>::size;
  using One = std::integral_constant<int, 1>;
  using Many = std::integral_constant<int, size>;
  const auto element = static_cast<int>(reinterpret_cast<uintptr_t>(row) / sizeof(T) % size);
  const int head = min(columns, (size - element) % size);
  const int packs = (columns - head) / size, behind = head + packs * size;
  const auto thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  if (thread < head) piece(thread, One());
  if (behind + thread < columns) piece(behind + thread, One());
  if (backwards) {
    const int last = thread + (packs - 1 - thread) / threads * threads;
    for (int p = last; p >= 0 && thread < packs; p -= threads) piece(head + p * size, Many());
  } else {
    for (int p = thread; p < packs; p += threads) piece(head + p * size, Many());
  }
}

template <int size, class T>
__device__ inline void load(const T* from, float (&x)[size]) {
  if constexpr (size == 1) {
    x[0] = to_float(*from);
  } else {
    const Pack<T> pack = load_pack(from);
    for (int j = 0; j < size; ++j) x[j] = to_float(pack[j]);
  }
}
template <int size, class T>
__device__ inline void store(T* to, const float (&x)[size]) {
  if constexpr (size == 1) {
    *to = from_float<T>(x[0]);
  } else {
    Pack<T> pack;
    for (int j = 0; j < size; ++j) pack[j] = from_float<T>(x[j]);
    store_pack(to, pack);
  }
}

struct MaxAndSum {
  float max, sum;
};

// The maximum and the sum of exp(logit - max) over a row in one pass: a sum is scaled down when its
// maximum rises (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018). A NaN
// may be passed over by the maximum, the sum shows it.
template <class T>
__device__ MaxAndSum max_and_sum(const T* row, int columns) {
  float max = lowest, sum = 0;
  for_columns<false>(row, columns, [&](int i, auto constant) {
    constexpr int size = decltype(constant)::value;
    float x[size];
    load(row + i, x);
    float top = max;
    for (int j = 0; j < size; ++j) top = fmaxf(top, x[j]);
    sum *= exponential<T>(max - top);
    for (int j = 0; j < size; ++j) sum += exponential<T>(x[j] - top);
    max = top;
  });
  const float top = reduce_block(max, lowest, Max());
  return {top, reduce_block(sum * exponential<T>(max - top), 0.0f)};
}

// row = scale * (factor * exp(logit - shift) - one_hot(target)); 0 behind the valid columns and
// where they are none.
template <class T>
__device__ void write_gradient(T* row, int columns, int valid, int target, float shift,
                               float factor, float scale) {
  for_columns<true>(row, columns, [&](int i, auto constant) {
    constexpr int size = decltype(constant)::value;
    float x[size] = {};
    if (i < valid) {
      load(row + i, x);
      for (int j = 0; j < size; ++j) x[j] = exponential<T>(x[j] - shift) * (factor * scale);
      const int of_target = target - i;
      if (valid - i < size || (of_target >= 0 && of_target < size)) {  // few packs of a row
        for (int j = 0; j < size; ++j) {
          x[j] = i + j < valid ? x[j] - (j == of_target ? scale : 0.0f) : 0.0f;
        }
      }
    }
    store(row + i, x);
  });
}

struct Scale {
  const float* loss_scale;
  float multiplier;

  __device__ float value() const {
    return loss_scale == nullptr ? multiplier : multiplier * *loss_scale;
  }
};

// Least traffic, in elements of T a logit: 1.
template <class T>
__global__ void __launch_bounds__(at_most, 2)
    cross_entropy_statistics_kernel(Rows<T> logits, float* statistics) {
  for (int64_t i = blockIdx.x; i < logits.rows; i += gridDim.x) {
    const MaxAndSum s = max_and_sum(logits.row(i), logits.valid);
    if (threadIdx.x != 0) continue;
    const int target = logits.target(i);
    float* to = statistics + i * 3;
    to[0] = logits.valid == 0 ? -std::numeric_limits<float>::infinity() : s.max;
    to[1] = s.sum;
    to[2] = target < 0 ? 0.0f : to_float(logits.row(i)[target]);
  }
}

// In float64, parts in order, a thread for each row.
__global__ void __launch_bounds__(128)
    cross_entropy_combine_kernel(const float* statistics, int64_t parts, int64_t rows,
                                 const int32_t* targets, float* log_sum, float* loss) {
  for (int64_t row = thread_index(); row < rows; row += thread_count()) {
    double max = -std::numeric_limits<double>::max();
    for (int64_t part = 0; part < parts; ++part) {
      const double of_part = statistics[(part * rows + row) * 3];
      max = of_part > max ? of_part : max;
    }
    double sum = 0, of_target = 0;
    for (int64_t part = 0; part < parts; ++part) {
      const float* s = statistics + (part * rows + row) * 3;
      if (s[1] != 0) sum += s[1] * exp(s[0] - max);
      of_target += s[2];
    }
    const double log_of_sum = log(sum);
    log_sum[row] = static_cast<float>(max + log_of_sum);
    loss[row] = targets[row] < 0 ? 0.0f : static_cast<float>(max - of_target + log_of_sum);
  }
}

// Least traffic, in elements of T a logit: 2.
template <class T>
__global__ void __launch_bounds__(at_most, 2)
    cross_entropy_gradient_kernel(Rows<T> logits, const float* log_sum, Scale scale) {
  const float s = scale.value();
  for (int64_t i = blockIdx.x; i < logits.rows; i += gridDim.x) {
    const int valid = logits.targets[i] < 0 ? 0 : logits.valid;
    write_gradient(logits.row(i), logits.columns, valid, logits.target(i), log_sum[i], 1.0f, s);
  }
}

// Least traffic, in elements of T a logit: 2; the second pass reads the row from the caches.
template <class T>
__global__ void __launch_bounds__(at_most, 2)
    cross_entropy_kernel(Rows<T> logits, float* loss, Scale scale) {
  const float gradient_scale = scale.value();
  for (int64_t i = blockIdx.x; i < logits.rows; i += gridDim.x) {
    T* row = logits.row(i);
    const int target = logits.target(i);
    MaxAndSum s{0, 1};
    if (logits.targets[i] >= 0) {
      const float of_target = target < 0 ? 0.0f : to_float(row[target]);
      s = max_and_sum(row, logits.valid);
      if (threadIdx.x == 0) loss[i] = s.max - of_target + logf(s.sum);
    } else if (threadIdx.x == 0) {
      loss[i] = 0;
    }
    const int valid = logits.targets[i] < 0 ? 0 : logits.valid;
    write_gradient(row, logits.columns, valid, target, s.max, 1.0f / s.sum, gradient_scale);
  }
}

template <class T>
Rows<T> rows_of(const Tensor& logits, const Tensor& targets, const VocabularyPart& part) {
  return {logits.as<T>(),
          logits.stride[0],
          logits.shape[0],
          targets.as<int32_t>(),
          part.first_column,
          static_cast<int>(logits.shape[1]),
          static_cast<int>(part.valid_columns)};
}

Scale scale_of(const GradientScale& scale) {
  return {scale.loss_scale ? scale.loss_scale.as<float>() : nullptr, scale.multiplier};
}

// Calls body(shape, rows) with the rows as their dtype.
template <class Body>
void with_rows(const Tensor& logits, const Tensor& targets, const VocabularyPart& part,
               const Body& body) {
  if (logits.shape[0] == 0) return;
  with_floating(logits.dtype, [&]<class T>() {
    body(cross_entropy_launch(logits.shape[0], logits.shape[1], Pack<T>::size),
         rows_of<T>(logits, targets, part));
  });
}

}  // namespace

void cuda::cross_entropy_statistics(const Context& context, const Tensor& logits,
                                    const Tensor& targets, const VocabularyPart& part,
                                    const Tensor& statistics) {
  with_rows(logits, targets, part, [&]<class T>(const LaunchShape& shape, const Rows<T>& rows) {
    launch("cross_entropy_statistics", cross_entropy_statistics_kernel<T>, shape, context.stream,
           rows, statistics.as<float>());
  });
}

void cuda::cross_entropy_combine(const Context& context, const Tensor& statistics,
                                 const Tensor& targets, const Tensor& log_sum, const Tensor& loss) {
  const int64_t rows = statistics.shape[1];
  if (rows == 0) return;
  launch("cross_entropy_combine", cross_entropy_combine_kernel, flat_launch(rows, 1, 128),
         context.stream, statistics.as<float>(), statistics.shape[0], rows, targets.as<int32_t>(),
         log_sum.as<float>(), loss.as<float>());
}

void cuda::cross_entropy_gradient(const Context& context, const Tensor& logits,
                                  const Tensor& targets, const VocabularyPart& part,
                                  const Tensor& log_sum, const GradientScale& scale) {
  with_rows(logits, targets, part, [&]<class T>(const LaunchShape& shape, const Rows<T>& rows) {
    launch("cross_entropy_gradient", cross_entropy_gradient_kernel<T>, shape, context.stream, rows,
           log_sum.as<float>(), scale_of(scale));
  });
}

void cuda::cross_entropy(const Context& context, const Tensor& logits, const Tensor& targets,
                         const VocabularyPart& part, const Tensor& loss,
                         const GradientScale& scale) {
  with_rows(logits, targets, part, [&]<class T>(const LaunchShape& shape, const Rows<T>& rows) {
    launch("cross_entropy", cross_entropy_kernel<T>, shape, context.stream, rows, loss.as<float>(),
           scale_of(scale));
  });
}

}  // namespace switchyard::ops
