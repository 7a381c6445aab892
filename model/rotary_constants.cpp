#include "model/rotary_constants.h"

#include "core/ops/rotary.h"

namespace switchyard {

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
  ops::rotary_table(numbers, context.config.rotary_dim(), context.config.rotary_base);
  copy_bytes(table.data, numbers.data, table.bytes(), context.ops.stream);
  context.ops.stream.synchronize();
}

}  // namespace switchyard
