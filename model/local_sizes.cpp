#include "model/local_sizes.h"

#include <algorithm>

namespace switchyard {

LocalSizes local_sizes(const GptConfig& config, const Layout& layout, int tp_rank,
                       int64_t micro_batch, int64_t sequence_length) {
  LocalSizes s;
  s.batch = micro_batch;
  s.sequence = sequence_length;
  s.rows = micro_batch * sequence_length;
  s.own_rows = s.rows / layout.tp;
  s.first_own_row = s.own_rows * tp_rank;
  s.hidden = config.hidden;
  s.heads = config.heads / layout.tp;
  s.first_head = s.heads * tp_rank;
  s.groups = std::max<int64_t>(config.query_groups / layout.tp, 1);
  s.head_dim = config.head_dim;
  s.ffn = config.ffn_hidden / layout.tp;
  s.up_width = config.activation == ops::Activation::swiglu ? 2 * s.ffn : s.ffn;
  s.vocabulary_rows = config.padded_vocabulary() / layout.tp;
  s.first_token = s.vocabulary_rows * tp_rank;
  s.valid_tokens = std::clamp(config.vocabulary - s.first_token, int64_t{0}, s.vocabulary_rows);
  return s;
}

}  // namespace switchyard
