#include "core/ops/rotary.h"

#include <cmath>
#include <numbers>

#include "core/ops/backends.h"
#include "core/ops/checks.h"

namespace switchyard::ops {

namespace {

void check_scaling(const RotaryScaling& s) {
  check(s.factor >= 1 && s.low_frequency > 0 && s.low_frequency < s.high_frequency &&
            s.original_positions >= 1,
        "rotary_frequencies",
        "scaling by {} with low {} and high {} of {} positions was given; a factor of 1 or more, "
        "0 < low < high and 1 position or more are allowed",
        s.factor, s.low_frequency, s.high_frequency, s.original_positions);
}

double scaled(double frequency, const RotaryScaling& s) {
  const double turns =  // within the original positions
      static_cast<double>(s.original_positions) * frequency / (2 * std::numbers::pi);
  if (turns > s.high_frequency) return frequency;
  if (turns < s.low_frequency) return frequency / s.factor;
  const double kept = (turns - s.low_frequency) / (s.high_frequency - s.low_frequency);
  return (1 - kept) * frequency / s.factor + kept * frequency;
}

}  // namespace

std::vector<double> rotary_frequencies(int64_t rotary_dim, double base,
                                       const std::optional<RotaryScaling>& scaling) {
  constexpr std::string_view where = "rotary_frequencies";
  check(rotary_dim > 0 && rotary_dim % 2 == 0, where,
        "rotary_dim {} was given; a positive even number is allowed", rotary_dim);
  check(base > 0, where, "base {} was given; a positive number is allowed", base);
  if (scaling) check_scaling(*scaling);
  std::vector<double> frequencies;
  frequencies.reserve(static_cast<size_t>(rotary_dim / 2));
  for (int64_t i = 0; i < rotary_dim / 2; ++i) {
    const double frequency =
        std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim));
    frequencies.push_back(scaling ? scaled(frequency, *scaling) : frequency);
  }
  return frequencies;
}

void rotary_table(const Tensor& table, std::span<const double> frequencies) {
  constexpr std::string_view where = "rotary_table";
  check_rank(where, "table", table, 3);
  check_dtype(where, "table", table, {DType::f32});
  check_shape(where, "table", table, {table.shape[0], std::ssize(frequencies), 2});
  check_contiguous(where, "table", table);
  const auto run = table.device == Device::cpu ? cpu::rotary_table : cuda::rotary_table;
  run(table, frequencies);
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
