#include "parallel/odd_ones.h"

#include <algorithm>

namespace switchyard {

std::vector<size_t> odd_ones(std::span<const int64_t> values) {
  std::vector<size_t> odd;
  std::vector<int64_t> sorted(values.begin(), values.end());
  std::ranges::sort(sorted);
  if (sorted.empty() || sorted.front() == sorted.back()) return odd;
  const int64_t middle = sorted[sorted.size() / 2];  // what more than half are is there
  const auto alike = static_cast<size_t>(std::ranges::count(sorted, middle));
  const bool has_majority = 2 * alike > sorted.size();
  for (size_t i = 0; i < values.size(); ++i) {
    if (!has_majority || values[i] != middle) odd.push_back(i);
  }
  return odd;
}

}  // namespace switchyard
