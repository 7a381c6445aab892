#include "model/rotary_constants.h"

#include <optional>
#include <vector>

#include "core/ops/rotary.h"

namespace switchyard {

namespace {

std::vector<double> frequencies_of(const GptConfig& c) {
  std::optional<ops::RotaryScaling> scaling;
  if (c.rope_scaling) {
    scaling = {.factor = c.rope_factor,
               .low_frequency = c.rope_low_frequency,
               .high_frequency = c.rope_high_frequency,
               .original_positions = c.rope_original_positions};
  }
  return ops::rotary_frequencies(c.rotary_dim(), c.rotary_base, scaling);
}

}  // namespace

BufferLine rotary_line(StageContext& context, int64_t length) {
  return {"rotary table",
          &context.rotary_table,
          {length, context.config.rotary_dim() / 2, 2},
          DType::f32};
}

void write_rotary_table(const StageContext& context) {
  const Tensor& table = context.rotary_table;
  Arena host("rotary table", Arena::footprint(table.shape, table.dtype));
  const Tensor numbers = host.allocate(table.shape, table.dtype, "rotary table");
  ops::rotary_table(numbers, frequencies_of(context.config));
  copy_bytes(table.data, numbers.data, table.bytes(), context.ops.stream);
  context.ops.stream.synchronize();
}

}  // namespace switchyard
