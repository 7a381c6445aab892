#include "core/ops/embedding.h"

#include "core/ops/backends.h"
#include "core/ops/checks.h"

namespace switchyard::ops {

namespace {

void check_embedding(std::string_view where, const Tensor& ids, std::string_view rows_name,
                     const Tensor& rows, int64_t first_row) {
  check_rank(where, "ids", ids, 1);
  check_dtype(where, "ids", ids, {DType::i32});
  check_contiguous(where, "ids", ids);
  check_rank(where, rows_name, rows, 2);
  check_dense_last_axis(where, rows_name, rows);
  check_device(where, rows_name, rows, ids.device);
  check(first_row >= 0, where, "first_row {} was given; 0 or more is allowed", first_row);
}

void check_hidden(std::string_view where, std::string_view name, const Tensor& t, const Tensor& ids,
                  const Tensor& rows) {
  check_shape(where, name, t, {ids.shape[0], rows.shape[1]});
  check_dense_last_axis(where, name, t);
  check_device(where, name, t, ids.device);
}

void check_positions(std::string_view where, std::string_view table_name, const Tensor& table,
                     std::string_view name, const Tensor& rows, int64_t first) {
  check_rank(where, table_name, table, 2);
  check_dense_last_axis(where, table_name, table);
  check_rank(where, name, rows, 2);
  check_shape(where, name, rows, {rows.shape[0], table.shape[1]});
  check_dense_last_axis(where, name, rows);
  check_device(where, table_name, table, rows.device);
  check(first >= 0 && table.shape[0] > 0, where,
        "first {} of {} positions; 0 or more of at least 1 is allowed", first, table.shape[0]);
}

}  // namespace

void embedding_forward(const Context& context, const Tensor& ids, const Tensor& table,
                       int64_t first_row, const Tensor& y) {
  constexpr std::string_view where = "embedding_forward";
  check_embedding(where, ids, "table", table, first_row);
  check_floating(where, "table", table);
  check_dtype(where, "y", y, {table.dtype});
  check_hidden(where, "y", y, ids, table);
  on_device(ids.device, cpu::embedding_forward, cuda::embedding_forward)(context, ids, table,
                                                                         first_row, y);
}

void embedding_backward(const Context& context, const Tensor& ids, const Tensor& dy,
                        int64_t first_row, const Tensor& dtable) {
  constexpr std::string_view where = "embedding_backward";
  check_embedding(where, ids, "dtable", dtable, first_row);
  check_dtype(where, "dtable", dtable, {DType::f32});
  check_floating(where, "dy", dy);
  check_hidden(where, "dy", dy, ids, dtable);
  on_device(ids.device, cpu::embedding_backward, cuda::embedding_backward)(context, ids, dy,
                                                                           first_row, dtable);
}

void position_embedding_forward(const Context& context, const Tensor& table, int64_t first,
                                const Tensor& x) {
  constexpr std::string_view where = "position_embedding_forward";
  check_positions(where, "table", table, "x", x, first);
  check_floating(where, "table", table);
  check_dtype(where, "x", x, {table.dtype});
  on_device(x.device, cpu::position_embedding_forward, cuda::position_embedding_forward)(
      context, table, first, x);
}

void position_embedding_backward(const Context& context, const Tensor& dx, int64_t first,
                                 const Tensor& dtable) {
  constexpr std::string_view where = "position_embedding_backward";
  check_positions(where, "dtable", dtable, "dx", dx, first);
  check_dtype(where, "dtable", dtable, {DType::f32});
  check_floating(where, "dx", dx);
  on_device(dx.device, cpu::position_embedding_backward, cuda::position_embedding_backward)(
      context, dx, first, dtable);
}

}  // namespace switchyard::ops
