#include "core/ops/rotary.h"

#include "core/ops/backends.h"
#include "core/ops/checks.h"

namespace switchyard::ops {

void rotary_table(const Tensor& table, int64_t rotary_dim, double base) {
  constexpr std::string_view where = "rotary_table";
  check(rotary_dim > 0 && rotary_dim % 2 == 0, where,
        "rotary_dim {} was given; a positive even number is allowed", rotary_dim);
  check(base > 0, where, "base {} was given; a positive number is allowed", base);
  check_rank(where, "table", table, 3);
  check_dtype(where, "table", table, {DType::f32});
  check_shape(where, "table", table, {table.shape[0], rotary_dim / 2, 2});
  check_contiguous(where, "table", table);
  const auto run = table.device == Device::cpu ? cpu::rotary_table : cuda::rotary_table;
  run(table, rotary_dim, base);
}

void rotary(const Context& context, const Tensor& x, const Tensor& table, const Tensor& positions,
            bool inverse) {
  constexpr std::string_view where = "rotary";
  check_rank(where, "x", x, 4);
  check_floating(where, "x", x);
  check_dense_last_axis(where, "x", x);
  check_rank(where, "table", table, 3);
  check_dtype(where, "table", table, {DType::f32});
  check_shape(where, "table", table, {table.shape[0], table.shape[1], 2});
  check_contiguous(where, "table", table);
  check(2 * table.shape[1] <= x.shape[3], where,
        "the table rotates {} channels; at most the head's {} are allowed", 2 * table.shape[1],
        x.shape[3]);
  check_device(where, "table", table, x.device);
  check_dtype(where, "positions", positions, {DType::i32});
  check_shape(where, "positions", positions, {x.shape[1]});
  check_contiguous(where, "positions", positions);
  check_device(where, "positions", positions, x.device);
  on_device(x.device, cpu::rotary, cuda::rotary)(context, x, table, positions, inverse);
}

}  // namespace switchyard::ops
