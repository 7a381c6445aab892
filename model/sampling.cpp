#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "core/error.h"
#include "core/random.h"
#include "model/generator.h"

namespace switchyard {

namespace {

void check_logits(std::span<const float> logits) {
  check(!logits.empty(), "sampling", "no logits were given");
  const auto bad = std::ranges::find_if(logits, [](float x) { return !std::isfinite(x); });
  check(bad == logits.end(), ExitCode::non_finite, "sampling",
        "the model's logit of token {} is {}, not a finite number", bad - logits.begin(),
        bad == logits.end() ? 0 : (std::isnan(*bad) ? std::abs(*bad) : *bad));
}

// Tokens from the likeliest down, equal ones in order of their numbers; the first `count` of them.
std::vector<int32_t> likeliest(std::span<const float> logits, size_t count) {
  std::vector<int32_t> tokens(logits.size());
  std::iota(tokens.begin(), tokens.end(), 0);
  const auto likelier = [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x > y || (x == y && a < b);
  };
  const auto end = tokens.begin() + static_cast<std::ptrdiff_t>(count);
  std::partial_sort(tokens.begin(), end, tokens.end(), likelier);
  tokens.resize(count);
  return tokens;
}

// Running sums of the tokens' probabilities, cut behind the first that reaches `share` of all
// (nucleus sampling: Holtzman et al. 2020).
std::vector<double> cumulative(std::span<const float> logits, const std::vector<int32_t>& tokens,
                               double temperature, double share) {
  const double most = double{logits[static_cast<size_t>(tokens.front())]};
  std::vector<double> sums;
  double sum = 0;
  for (const int32_t token : tokens) {
    sum += std::exp((double{logits[static_cast<size_t>(token)]} - most) / temperature);
    sums.push_back(sum);
  }
  if (share < 1) {
    sums.erase(std::lower_bound(sums.begin(), sums.end(), share * sum) + 1, sums.end());
  }
  return sums;
}

}  // namespace

void check_sampling(const SamplingOptions& o) {
  check(o.temperature >= 0, "sampling", "the temperature is {}; 0 or more is allowed",
        o.temperature);
  check(o.top_k >= 0, "sampling", "top-k is {}; 0 (all) or more is allowed", o.top_k);
  check(o.top_p > 0 && o.top_p <= 1, "sampling", "top-p is {}; above 0 and up to 1 is allowed",
        o.top_p);
}

int32_t sample_token(std::span<const float> logits, const SamplingOptions& options,
                     int64_t position) {
  check_sampling(options);
  check_logits(logits);
  if (options.temperature == 0) return likeliest(logits, 1).front();
  const size_t all = logits.size();
  const size_t k = options.top_k == 0 ? all : std::min(all, static_cast<size_t>(options.top_k));
  const std::vector<int32_t> tokens = likeliest(logits, k);
  const std::vector<double> sums = cumulative(logits, tokens, options.temperature, options.top_p);
  const RandomKey key{options.seed, 0, random_purpose("sampling")};
  const double point = double{random_uniform(key, static_cast<uint64_t>(position))} * sums.back();
  const auto chosen = std::upper_bound(sums.begin(), sums.end() - 1, point) - sums.begin();
  return tokens[static_cast<size_t>(chosen)];
}

}  // namespace switchyard
