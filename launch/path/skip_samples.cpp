#include "launch/path/skip_samples.h"

#include <algorithm>

#include "core/error.h"
#include "core/text.h"

namespace switchyard {

void skip_samples(const std::string& text, int64_t consumed, std::vector<DataStage>& stages) {
  constexpr int64_t most = int64_t{1} << 60;
  const auto fields = split_at(':', text);
  const auto first = parse_number<int64_t>(fields.front());
  const auto end = parse_number<int64_t>(fields.back());
  check(fields.size() == 2 && first && end && *first >= 0 && *first < *end && *end <= most, "fork",
        "--skip-samples {}; A:B with 0 <= A < B is allowed: the samples A, A + 1, ... B - 1", text);
  check(*first >= consumed, "fork",
        "--skip-samples {}, but the branch begins behind {} samples; a range from {} on is allowed",
        text, consumed, consumed);
  auto stage = std::ranges::find_if(
      stages, [&](const DataStage& each) { return each.first_sample > *first; });
  check(stage == stages.end() || *end <= stage->first_sample, "fork",
        "--skip-samples {}, but other data begin with sample {}; a range within a stage of data is "
        "allowed",
        text, stage == stages.end() ? 0 : stage->first_sample);
  --stage;
  stage->skips.push_back({*first, *end - *first});
}

}  // namespace switchyard
