#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/ops/embedding_cpu.cpp"
#include "core/ops/highway.h"
// Keep this order.
#include <hwy/foreach_target.h>

#include "core/ops/elementwise.h"
#include "core/ops/embedding.h"
#include "core/ops/vector-inl.h"

#ifndef SWITCHYARD_TOKEN_ROWS
#define SWITCHYARD_TOKEN_ROWS
namespace switchyard::ops {
// A token's row of the table: by its id, or by its place among `positions`.
struct TokenRows {
  const int32_t* ids = nullptr;
  int64_t first = 0, positions = 0;

  int64_t of(int64_t token) const {
    return ids != nullptr ? ids[token] - first : (first + token) % positions;
  }
};
}  // namespace switchyard::ops
#endif

HWY_BEFORE_NAMESPACE();
namespace switchyard::ops {
namespace HWY_NAMESPACE {
namespace {

template <class T>
void add_columns_as(const TokenRows& rows, const Tensor& dy, const Tensor& dtable, int64_t begin,
                    int64_t end) {
  for (int64_t token = 0; token < dy.shape[0]; ++token) {
    const int64_t row = rows.of(token);
    if (row < 0 || row >= dtable.shape[0]) continue;
    const T* from = dy.as<T>() + token * dy.stride[0] + begin;
    float* to = dtable.as<float>() + row * dtable.stride[0] + begin;
    for_vectors(static_cast<size_t>(end - begin), [&](size_t i, auto part) HWY_ATTR {
      store(hn::Add(load(to + i, part), load(from + i, part)), to + i, part);
    });
  }
}

// Adds columns [begin, end) of all tokens in their order.
void add_columns(const TokenRows& rows, const Tensor& dy, const Tensor& dtable, int64_t begin,
                 int64_t end) {
  const auto run = dy.dtype == DType::f32 ? add_columns_as<float> : add_columns_as<bf16>;
  run(rows, dy, dtable, begin, end);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace switchyard::ops
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <omp.h>

#include "core/ops/backends.h"
#include "core/ops/parallel_blocks.h"

namespace switchyard::ops {
HWY_EXPORT(add_columns);

void cpu::embedding_forward(const Context&, const Tensor& ids, const Tensor& table,
                            int64_t first_row, const Tensor& y) {
  const auto width = static_cast<size_t>(y.shape[1] * size_of(y.dtype));
  const auto row_of = [](const Tensor& t, int64_t row) {
    return static_cast<char*>(t.data) + row * t.stride[0] * size_of(t.dtype);
  };
  const int32_t* id = ids.as<int32_t>();
  parallel_blocks(ids.shape[0], 16, [&](int64_t begin, int64_t end) {
    for (int64_t token = begin; token < end; ++token) {
      const int64_t row = id[token] - first_row;
      if (row < 0 || row >= table.shape[0]) {
        std::memset(row_of(y, token), 0, width);
      } else {
        std::memcpy(row_of(y, token), row_of(table, row), width);
      }
    }
  });
}

namespace {

// Each thread owns columns, not tokens: no two threads add to one element, and every element is
// summed in the order of the tokens.
void add_rows(const TokenRows& rows, const Tensor& dy, const Tensor& dtable) {
  constexpr int64_t line = 16;  // floats
  const int64_t lines = (dtable.shape[1] + line - 1) / line;
  const int64_t each = (lines + omp_get_max_threads() - 1) / omp_get_max_threads();
  parallel_blocks(dtable.shape[1], std::max<int64_t>(1, each) * line,
                  [&](int64_t begin, int64_t end) {
                    HWY_DYNAMIC_DISPATCH(add_columns)(rows, dy, dtable, begin, end);
                  });
}

}  // namespace

void cpu::embedding_backward(const Context&, const Tensor& ids, const Tensor& dy, int64_t first_row,
                             const Tensor& dtable) {
  add_rows({ids.as<int32_t>(), first_row, 0}, dy, dtable);
}

void cpu::position_embedding_forward(const Context& context, const Tensor& table, int64_t first,
                                     const Tensor& x) {
  const int64_t positions = table.shape[0];
  const bool dense = table.is_contiguous() && x.is_contiguous();
  for (int64_t row = 0; row < x.shape[0];) {
    const int64_t position = (first + row) % positions;
    const int64_t count = dense ? std::min(positions - position, x.shape[0] - row) : 1;
    const Tensor rows = x.slice(0, row, row + count);
    cpu::add(context, rows, table.slice(0, position, position + count), rows);
    row += count;
  }
}

void cpu::position_embedding_backward(const Context&, const Tensor& dx, int64_t first,
                                      const Tensor& dtable) {
  add_rows({nullptr, first, dtable.shape[0]}, dx, dtable);
}

}  // namespace switchyard::ops
#endif  // HWY_ONCE
