#pragma once

#include <cstdint>

#include "model/config.h"
#include "parallel/mesh.h"

namespace switchyard {

// The sizes of what one rank holds of a stage.
struct LocalSizes {
  int64_t batch = 0;     // samples of a microbatch
  int64_t sequence = 0;  // tokens of a sample
  int64_t rows = 0;      // batch * sequence
  int64_t own_rows = 0;  // rows / tp: what a rank holds between products
  int64_t first_own_row = 0;
  int64_t hidden = 0;
  int64_t heads = 0;  // of this rank
  int64_t first_head = 0;
  int64_t groups = 0;  // key/value heads of this rank; one that ranks share where tp is larger
  int64_t head_dim = 0;
  int64_t ffn = 0;              // channels of this rank
  int64_t up_width = 0;         // ffn, or twice that with a gate
  int64_t vocabulary_rows = 0;  // of this rank, padding included
  int64_t first_token = 0;      // the token of vocabulary row 0
  int64_t valid_tokens = 0;     // rows that are no padding

  int64_t attention_width() const { return heads * head_dim; }
  int64_t qkv_width() const { return (heads + 2 * groups) * head_dim; }
};

// The configuration is complete and fits the layout (GptStage::check_layout).
LocalSizes local_sizes(const GptConfig& config, const Layout& layout, int tp_rank,
                       int64_t micro_batch, int64_t sequence_length);

}  // namespace switchyard
