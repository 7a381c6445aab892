#include "core/ops/attention/launch.h"

#include "core/error.h"

namespace switchyard::ops {

switchyard::cuda::LaunchShape attention_launch(int64_t batch, int64_t heads, int64_t length,
                                               int64_t head_dim, int tiles_of_rows) {
  check(head_dim >= 1 && head_dim <= attention_most_head_dim, "attention",
        "a head_dim of {} on a GPU; 1 to {} are allowed", head_dim, attention_most_head_dim);
  const int padded = attention_padded(head_dim), rows = attention_rows(padded);
  return {.x = batch * heads * ((length + rows - 1) / rows),
          .threads = attention_threads,
          .shared_bytes = attention_shared_bytes(padded, tiles_of_rows)};
}

}  // namespace switchyard::ops
