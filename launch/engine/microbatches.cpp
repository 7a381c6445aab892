#include "launch/engine/microbatches.h"

#include <algorithm>

namespace switchyard {

void read_microbatch(const TokenBatch& batch, int64_t samples, int64_t vocabulary,
                     const ReadSample& read) {
  const int64_t micro_batch = batch.tokens.shape[0];
  const auto length = static_cast<size_t>(batch.tokens.shape[1]);
  for (int64_t i = 0; i < micro_batch; ++i) {
    const auto offset = static_cast<size_t>(i) * length;
    const auto tokens = batch.tokens.span<int32_t>().subspan(offset, length);
    const auto targets = batch.targets.span<int32_t>().subspan(offset, length);
    if (batch.first_sample + i < samples) {
      read(batch.first_sample + i, tokens, targets);
      check_tokens(tokens, "tokens", 0, vocabulary);
      check_tokens(targets, "targets", -1, vocabulary);
    } else {
      std::ranges::fill(tokens, 0);
      std::ranges::fill(targets, -1);
    }
  }
}

int64_t scored_tokens(std::span<const TokenBatch> batches) {
  int64_t count = 0;
  for (const TokenBatch& batch : batches) {
    count += std::ranges::count_if(batch.targets.span<int32_t>(), [](int32_t t) { return t >= 0; });
  }
  return count;
}

}  // namespace switchyard
