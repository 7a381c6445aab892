#pragma once

#include "core/tensor.h"
#include "model/exchange/architecture.h"

namespace switchyard {

// Where the elements of one of our tensors lie in one of theirs. Row r of ours, a matrix [rows,
// columns] or a vector [rows], is row first + (r / block) * stride + r % block of theirs, or where
// theirs is transposed, [columns, all rows], that column of it. A plain copy has first 0 and one
// block.
struct WeightMap {
  std::string ours;  // "layers.3.attention.q.weight"
  Shape shape;       // of ours
  std::string theirs;
  Shape their_shape;
  bool transposed = false;
  int64_t first = 0;
  int64_t block = 0;   // rows that lie next to each other in both; all, but in q, k, v by heads
  int64_t stride = 0;  // rows of theirs from one block to the next

  int64_t their_row(int64_t row) const { return first + row / block * stride + row % block; }
};

// For each tensor of the model (make_parameters) one map, in the order in which their files have
// them; together they are a bijection onto the elements of their tensors. A tied output layer has
// none: their files leave it out.
std::vector<WeightMap> weight_maps(Architecture architecture, const GptConfig& config);

// Before the names of all tensors but the output layer, as "transformer."; some published files
// lack it.
std::string_view base_prefix(Architecture architecture);
std::string_view output_name(Architecture architecture);  // of the output layer: "lm_head.weight"
// Tensors of older files that are computed and no weights: masks, rotary frequencies.
bool is_computed_buffer(Architecture architecture, std::string_view their_name);

}  // namespace switchyard
