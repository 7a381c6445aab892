#include "data/validation_sample.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "core/error.h"
#include "core/random.h"
#include "data/sample_order.h"

namespace switchyard {

namespace {

// As few names from the end of a prefix as tell it from all others.
std::string short_name(const std::string& prefix, const std::vector<std::string>& all) {
  for (size_t slash = prefix.rfind('/'); slash != std::string::npos && slash > 0;
       slash = prefix.rfind('/', slash - 1)) {
    const std::string_view end = std::string_view(prefix).substr(slash);
    const auto alike =
        std::ranges::count_if(all, [&](const std::string& other) { return other.ends_with(end); });
    if (alike == 1) return std::string(end.substr(1));
  }
  return prefix;
}

}  // namespace

ValidationSample::ValidationSample(const std::vector<ValidationSource>& sources, int64_t samples,
                                   int64_t sequence_length)
    : sequence_length_(sequence_length) {
  // By identity, so that neither names nor order matter.
  std::map<std::string, ValidationSource> merged;
  for (const ValidationSource& source : sources) {
    if (source.begin == source.end) continue;
    const auto [place, is_new] = merged.try_emplace(source.set->identity(), source);
    if (!is_new) place->second.weight += source.weight;
  }
  check(!merged.empty(), "data", "no set with a window for validation was given; one is needed");
  std::vector<double> weights;
  std::vector<std::string> prefixes;
  int64_t windows = 0;
  for (const auto& [identity, source] : merged) {
    weights.push_back(source.weight);
    prefixes.push_back(source.set->prefix());
    windows += source.end - source.begin;
  }
  const auto counts = apportion(weights, std::min(samples, windows));
  for (const auto& [identity, source] : merged) {
    const int64_t count = std::max<int64_t>(1, counts[parts_.size()]);
    parts_.push_back({source, short_name(source.set->prefix(), prefixes), count});
  }
  std::ranges::sort(parts_, {}, &Part::name);
}

void ValidationSample::read(size_t set, int64_t sample, std::span<int32_t> tokens,
                            std::span<int32_t> targets) const {
  const Part& part = parts_[set];
  check(sample >= 0 && sample < part.samples, "data",
        "validation sample {} of {} was asked for; there are {}", sample, part.name, part.samples);
  const auto windows = static_cast<uint64_t>(part.windows());
  const auto number = static_cast<uint64_t>(sample);
  const Permutation within_epoch(windows, random_purpose(part.source.set->identity()), 0, 0,
                                 number / windows);
  const auto window = static_cast<int64_t>(within_epoch(number % windows));
  read_window(*part.source.set, part.source.begin + window, sequence_length_, tokens, targets);
}

}  // namespace switchyard
