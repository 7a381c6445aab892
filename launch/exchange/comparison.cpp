#include "launch/exchange/comparison.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/logging.h"
#include "model/exchange/reference_logits.h"

namespace switchyard {

namespace {

constexpr double allowed = 1e-3;  // an order of sums makes some 1e-6 of it, a wrong map all

// Both ends of the vocabulary, and others all over it.
std::vector<int32_t> sample_tokens(const GptConfig& config) {
  int64_t count = 32;
  if (config.positions == Positions::learned) count = std::min(count, config.max_positions);
  std::vector<int32_t> tokens;
  tokens.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t token = i == 1 ? config.vocabulary - 1 : i * 7919;
    tokens.push_back(static_cast<int32_t>(token % config.vocabulary));
  }
  return tokens;
}

double show_mib(int64_t bytes) { return std::ceil(static_cast<double>(bytes) / 0x1p20); }

}  // namespace

void compare_logits(const std::filesystem::path& folder, const GptConfig& config,
                    const LoadWeights& load, std::optional<DType> rounded) {
  const auto tokens = sample_tokens(config);
  const auto theirs = reference_logits(folder, tokens, rounded);
  const auto ours = streamed_logits(config, tokens, load);
  check(theirs.size() == ours.size(), "convert", "{} logits of '{}' and {} of ours", theirs.size(),
        folder.string(), ours.size());
  double largest = 0, difference = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    const double apart = std::abs(static_cast<double>(ours[i]) - static_cast<double>(theirs[i]));
    largest = std::max(largest, std::abs(static_cast<double>(theirs[i])));
    difference = std::isfinite(apart) ? std::max(difference, apart) : HUGE_VAL;
  }
  check(std::isfinite(difference), ExitCode::non_finite, "convert",
        "the logits of '{}' are not finite: weights that are not, or sums too large for fp32; "
        "nothing was made",
        folder.string());
  check(difference <= allowed * std::max(1.0, largest), ExitCode::differs, "convert",
        "the logits of both sides differ by {:.3g}, the largest being {:.3g}; {:.0e} of it is "
        "allowed, so nothing was made",
        difference, largest, allowed);
  log::info(
      "logits of both sides on {} tokens: the largest difference is {:.3g}, the largest "
      "logit {:.3g}",
      tokens.size(), difference, largest);
}

int64_t conversion_memory(int64_t given, const GptConfig& config, bool compares) {
  const int64_t needed = compares ? streamed_bytes(config) : 0;
  if (given == 0) return std::max(int64_t{256} << 20, needed);
  check(given >= needed, "convert",
        "--memory {} MiB, but comparing logits holds a layer in fp32, {} MiB; that many, or "
        "--skip-comparison, is allowed",
        given >> 20, show_mib(needed));
  return given;
}

int64_t conversion_part(int64_t memory) {
  constexpr int64_t largest = int64_t{64} << 20;
  return std::clamp<int64_t>(memory / 4, 1, largest);
}

}  // namespace switchyard
