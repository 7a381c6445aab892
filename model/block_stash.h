#pragma once

#include <string_view>
#include <vector>

#include "core/memory.h"
#include "model/local_sizes.h"

namespace switchyard {

// One line of a table of buffers: all of them are described before the one allocation.
struct BufferLine {
  std::string_view name;
  Tensor* tensor;
  Shape shape;
  DType dtype;
};
int64_t bytes_of(const std::vector<BufferLine>& table);
void allocate(const std::vector<BufferLine>& table, Arena& arena);

// What a block keeps of one microbatch from forward to backward.
struct BlockStash {
  Tensor attention_input;                       // [own_rows, hidden], normalised
  Tensor attention_mean, attention_reciprocal;  // [own_rows] f32
  Tensor qkv;                                   // [rows, qkv_width], rotated
  Tensor attended;                              // [rows, heads * head_dim]
  Tensor log_sum;                               // [batch, heads, sequence] f32
  Tensor middle;     // [own_rows, hidden], the stream between attention and MLP (if serial)
  Tensor mlp_input;  // [own_rows, hidden], normalised
  Tensor mlp_mean, mlp_reciprocal;  // [own_rows] f32
  Tensor up;                        // [rows, up_width], the activation's input; gate first
  Tensor activated;                 // [rows, ffn]
  Tensor output;                    // [own_rows, hidden], the stream behind the block
};
std::vector<BufferLine> block_table(BlockStash& stash, const GptConfig& config,
                                    const LocalSizes& sizes, DType dtype);

// What the final norm and the output layer keep.
struct HeadStash {
  Tensor normalized;        // [own_rows, hidden]; in training its gradient, from forward on
  Tensor mean, reciprocal;  // [own_rows] f32
};
std::vector<BufferLine> head_table(HeadStash& stash, const LocalSizes& sizes, DType dtype);

}  // namespace switchyard
