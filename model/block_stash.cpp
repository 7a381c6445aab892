#include "model/block_stash.h"

namespace switchyard {

int64_t bytes_of(const std::vector<BufferLine>& table) {
  int64_t bytes = 0;
  for (const BufferLine& line : table) bytes += Arena::footprint(line.shape, line.dtype);
  return bytes;
}

void allocate(const std::vector<BufferLine>& table, Arena& arena) {
  for (const BufferLine& line : table) {
    *line.tensor = arena.allocate(line.shape, line.dtype, line.name);
  }
}

std::vector<BufferLine> block_table(BlockStash& stash, const GptConfig& config, const LocalSizes& s,
                                    DType dtype) {
  const Shape stream{s.own_rows, s.hidden};
  const Shape row{s.own_rows};
  std::vector<BufferLine> table = {
      {"attention input", &stash.attention_input, stream, dtype},
      {"attention mean", &stash.attention_mean, row, DType::f32},
      {"attention reciprocal", &stash.attention_reciprocal, row, DType::f32},
      {"qkv", &stash.qkv, {s.rows, s.qkv_width()}, dtype},
      {"attended", &stash.attended, {s.rows, s.attention_width()}, dtype},
      {"attention log sum", &stash.log_sum, {s.batch, s.heads, s.rows / s.batch}, DType::f32},
      {"mlp input", &stash.mlp_input, stream, dtype},
      {"mlp mean", &stash.mlp_mean, row, DType::f32},
      {"mlp reciprocal", &stash.mlp_reciprocal, row, DType::f32},
      {"mlp up", &stash.up, {s.rows, s.up_width}, dtype},
      {"mlp activated", &stash.activated, {s.rows, s.ffn}, dtype},
      {"block output", &stash.output, stream, dtype},
  };
  if (!config.parallel_residual) table.push_back({"middle", &stash.middle, stream, dtype});
  return table;
}

std::vector<BufferLine> head_table(HeadStash& stash, const LocalSizes& s, DType dtype) {
  return {
      {"final norm", &stash.normalized, {s.own_rows, s.hidden}, dtype},
      {"final mean", &stash.mean, {s.own_rows}, DType::f32},
      {"final reciprocal", &stash.reciprocal, {s.own_rows}, DType::f32},
  };
}

}  // namespace switchyard
