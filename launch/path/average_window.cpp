#include "launch/path/average_window.h"

#include <algorithm>

#include "core/error.h"
#include "core/text.h"
#include "launch/path/average_document.h"
#include "launch/path/run_folder.h"

namespace switchyard {

namespace {

constexpr std::string_view prefix = "average/";

AverageRecord running_mean_in(const RunFolder& run, int64_t step, const std::string& average) {
  const auto info = CheckpointReader(run.checkpoint(step).folder).info();
  std::string names;
  for (const auto& record : averages_in(info).records) {
    const bool is_running = record.spec.kind == AverageSpec::Kind::running && record.count > 0;
    if (is_running && prefix.data() + record.spec.name == average) return record;
    if (is_running) names += (names.empty() ? "" : ", ") + (prefix.data() + record.spec.name);
  }
  fail("average", "step {} of '{}' has no running mean '{}'; it has {}", step,
       run.folder().string(), average, names.empty() ? "none" : names);
}

}  // namespace

AverageWindow parse_window(const std::string& text) {
  const auto parts = split_at(':', text);
  const auto begin = parse_number<int64_t>(parts.front()),
             end = parse_number<int64_t>(parts.back());
  check(parts.size() == 2 && begin.value_or(-1) >= 0 && end.value_or(-1) > *begin, "average",
        "--window {}; A:B with 0 <= A < B is allowed", text);
  return {*begin, *end};
}

std::string show(const AverageWindow& window) {
  return fmt::format("window {}:{}", window.begin, window.end);
}

WindowSums window_sums(const std::string& run, const AverageWindow& window,
                       const std::string& average) {
  const RunFolder folder(run);
  const auto last = running_mean_in(folder, window.end, average);
  WindowSums sums{{{run, window.end}}, {}, average + "/sum"};
  check(window.begin >= last.since, "average",
        "--window {}:{}, but '{}' began behind step {}; a window from there on is allowed",
        window.begin, window.end, average, last.since);
  int64_t count = last.count;
  if (window.begin > last.since) {
    const auto first = running_mean_in(folder, window.begin, average);
    check(first.spec == last.spec && first.since == last.since, "average",
          "'{}' of step {} is not the one that step {} has; it was begun anew between them",
          average, window.begin, window.end);
    count -= first.count;
    sums.members.insert(sums.members.begin(), {run, window.begin});
  }
  check(count > 0, "average", "--window {}:{}: '{}' has taken no step in it (every {})",
        window.begin, window.end, average, last.spec.every);
  if (sums.members.size() > 1) sums.coefficients.push_back(-1.0 / static_cast<double>(count));
  sums.coefficients.push_back(1.0 / static_cast<double>(count));
  return sums;
}

}  // namespace switchyard
