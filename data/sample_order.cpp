#include "data/sample_order.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "core/error.h"

namespace switchyard {

namespace {

double largest_weight(const std::vector<double>& weights) {
  check(!weights.empty(), "data", "a blend of no sets was given; one or more is needed");
  for (const double weight : weights) {
    check(std::isfinite(weight) && weight > 0, "data",
          "a weight of {} was given; weights are positive and finite", weight);
  }
  return *std::max_element(weights.begin(), weights.end());
}

}  // namespace

std::vector<int64_t> apportion(const std::vector<double>& weights, int64_t total) {
  const double largest = largest_weight(weights);  // scaled by it, no sum overflows
  double sum = 0;
  for (const double weight : weights) sum += weight / largest;

  std::vector<int64_t> quotas;
  std::vector<double> remainders;
  for (const double weight : weights) {
    const double share = weight / largest / sum * static_cast<double>(total);
    quotas.push_back(static_cast<int64_t>(share));
    remainders.push_back(share - std::floor(share));
  }
  std::vector<size_t> order(weights.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return remainders[a] > remainders[b]; });
  int64_t missing = total - std::accumulate(quotas.begin(), quotas.end(), int64_t{0});
  for (size_t i = 0; missing > 0; i = (i + 1) % order.size(), --missing) ++quotas[order[i]];
  return quotas;
}

std::vector<int64_t> blend_quotas(const std::vector<double>& weights) {
  std::vector<int64_t> quotas = apportion(weights, blend_block);
  for (size_t d = 0; d < quotas.size(); ++d) {
    check(quotas[d] > 0, "data",
          "the weight {} of set {} is less than one sample in {}; give a larger one or leave the "
          "set out",
          weights[d], d, blend_block);
  }
  return quotas;
}

Seeds Seeds::within(int64_t begin, int64_t end) const {
  Seeds inside(initial());
  for (const auto& [first, seed] : changes) {
    if (first <= begin) {
      inside.changes.front().seed = seed;
    } else if (first < end) {
      if (inside.changes.back().first_sample == first - begin) inside.changes.pop_back();
      inside.changes.push_back({first - begin, seed});
    }
  }
  return inside;
}

SampleOrder::SampleOrder(const Seeds& seeds, int stage, const std::vector<double>& weights,
                         std::vector<int64_t> windows)
    : stage_(stage), quotas_(blend_quotas(weights)), windows_(std::move(windows)) {
  check(stage >= 0, "data", "stage {} of the data was given; 0 or more is allowed", stage);
  check(windows_.size() == quotas_.size(), "data", "{} weights and {} sets were given",
        quotas_.size(), windows_.size());
  for (size_t d = 0; d < quotas_.size(); ++d) {
    check(windows_[d] >= 1, "data", "set {} has {} windows; 1 or more is needed", d, windows_[d]);
  }
  by_quota_.resize(quotas_.size());
  std::iota(by_quota_.begin(), by_quota_.end(), size_t{0});
  std::stable_sort(by_quota_.begin(), by_quota_.end(),
                   [&](size_t a, size_t b) { return quotas_[a] > quotas_[b]; });
  for (const auto& [position, seed] : seeds.changes) {
    changes_.push_back({seed, numbers_before(position)});
  }
}

std::vector<int64_t> SampleOrder::numbers_before(int64_t position) const {
  std::vector<int64_t> numbers(quotas_.size());
  int64_t q = position % blend_block;
  int64_t m = blend_block;
  for (const size_t set : by_quota_) {
    const int64_t taken = q * quotas_[set] / m;
    numbers[set] = position / blend_block * quotas_[set] + taken;
    q -= taken;
    m -= quotas_[set];
    if (m == 0) break;
  }
  return numbers;
}

// Of q + 1 positions that are left, the set has taken floor((q + 1) n / m); it takes position q
// when that number rises there.
std::pair<size_t, int64_t> SampleOrder::turn(int64_t place_in_block) const {
  int64_t q = place_in_block;
  int64_t m = blend_block;
  for (const size_t set : by_quota_) {
    const int64_t n = quotas_[set];
    const int64_t taken = q * n / m;
    if ((q + 1) * n / m > taken) return {set, taken};
    q -= taken;
    m -= n;
  }
  fail("data", "place {} in a block was asked for; 0 to {} is allowed", place_in_block,
       blend_block - 1);
}

Permutation SampleOrder::permutation(int64_t size, uint64_t seed, size_t set, int64_t epoch) const {
  return {static_cast<uint64_t>(size), seed, static_cast<uint32_t>(stage_),
          static_cast<uint32_t>(set), static_cast<uint64_t>(epoch)};
}

SamplePlace SampleOrder::at(int64_t position) const {
  check(position >= 0, "data", "position {} was asked for; 0 or more is allowed", position);
  const auto [set, turn_in_block] = turn(position % blend_block);
  const int64_t number = position / blend_block * quotas_[set] + turn_in_block;
  const int64_t epoch = number / windows_[set];
  const int64_t begin = epoch * windows_[set];
  auto change = changes_.rbegin();
  while (change->first[set] > number) ++change;
  // Under a seed that came within the epoch, the rest of it is permuted; the seed before says which
  // windows are left.
  auto index = static_cast<uint64_t>(number - begin);
  for (; change->first[set] > begin; ++change) {
    const int64_t done = change->first[set] - begin;
    const auto rest = permutation(windows_[set] - done, change->seed, set, epoch);
    index = static_cast<uint64_t>(done) + rest(index - static_cast<uint64_t>(done));
  }
  const uint64_t window = permutation(windows_[set], change->seed, set, epoch)(index);
  return {static_cast<int>(set), epoch, static_cast<int64_t>(window)};
}

}  // namespace switchyard
