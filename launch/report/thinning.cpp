#include "launch/report/thinning.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace switchyard {

namespace {

// The first, lowest, highest and last of begin ... end - 1.
void mark_extremes(std::span<const double> values, size_t begin, size_t end,
                   std::vector<bool>& stays) {
  size_t lowest = begin, highest = begin;
  for (size_t i = begin; i < end; ++i) {
    if (values[i] < values[lowest] || std::isnan(values[lowest])) lowest = i;
    if (values[i] > values[highest] || std::isnan(values[highest])) highest = i;
  }
  for (const size_t i : {begin, lowest, highest, end - 1}) stays[i] = true;
}

}  // namespace

std::vector<size_t> thinned(std::span<const double> values, size_t buckets,
                            const std::vector<bool>& kept) {
  const size_t count = values.size();
  std::vector<bool> stays(count, count <= 4 * buckets);
  if (count > 4 * buckets) {
    for (size_t b = 0; b < buckets; ++b) {
      mark_extremes(values, b * count / buckets, (b + 1) * count / buckets, stays);
    }
    for (size_t i = 0; i < count; ++i) {
      const bool finite = std::isfinite(values[i]);
      const bool turns = (i > 0 && std::isfinite(values[i - 1]) != finite) ||
                         (i + 1 < count && std::isfinite(values[i + 1]) != finite);
      if (turns || (i < kept.size() && kept[i])) stays[i] = true;
    }
  }
  std::vector<size_t> places;
  for (size_t i = 0; i < count; ++i) {
    if (stays[i]) places.push_back(i);
  }
  return places;
}

std::vector<double> window_means(std::span<const double> values, size_t window) {
  std::vector<double> means;
  for (size_t begin = 0; begin < values.size(); begin += window) {
    double sum = 0;
    size_t counted = 0;
    for (const double value : values.subspan(begin, std::min(window, values.size() - begin))) {
      if (!std::isfinite(value)) continue;
      sum += value;
      ++counted;
    }
    means.push_back(counted == 0 ? std::numeric_limits<double>::quiet_NaN()
                                 : sum / static_cast<double>(counted));
  }
  return means;
}

}  // namespace switchyard
