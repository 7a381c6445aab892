#include "launch/path/average_weights.h"

#include <fmt/ranges.h>

#include <cmath>

#include "core/error.h"
#include "core/text.h"
#include "optim/schedule.h"

namespace switchyard {

namespace {

constexpr const char* allowed =
    "uniform, ema:B with 0 <= B < 1, linear, cosine, 1-sqrt, or a number for each checkpoint with "
    "commas between them is allowed";

std::vector<double> moving_average(const std::string& weights_of, size_t count) {
  const auto beta = parse_number<double>(std::string_view(weights_of).substr(4));
  check(beta && *beta >= 0 && *beta < 1, "average", "--weights-of {}; {}", weights_of, allowed);
  std::vector<double> coefficients(count, 1);
  for (size_t j = 0; j < count; ++j) {
    const double newer = std::pow(*beta, static_cast<double>(count - 1 - j));
    coefficients[j] = j == 0 ? newer : (1 - *beta) * newer;
  }
  return coefficients;
}

// The schedule's own formula, from 1 to 0 over as many steps as there are checkpoints.
std::vector<double> imitated_decay(DecayStyle style, size_t count) {
  const auto n = static_cast<int64_t>(count);
  const Schedule decay{.maximum = 1, .style = style, .decay_from = 1, .decay_iters = n};
  std::vector<double> coefficients;
  double factor = 1;
  for (int64_t j = 1; j <= n; ++j) {
    const double next = j == n ? 0 : learning_rate(decay, j);
    coefficients.push_back(factor - next);
    factor = next;
  }
  return coefficients;
}

std::vector<double> given_numbers(const std::string& weights_of, size_t count) {
  std::vector<double> coefficients;
  double sum = 0;
  for (const auto part : split_at(',', weights_of)) {
    const auto number = parse_number<double>(part);
    check(number && std::isfinite(*number), "average", "--weights-of {}; {}", weights_of, allowed);
    coefficients.push_back(*number);
    sum += *number;
  }
  check(coefficients.size() == count, "average",
        "--weights-of {}, {} numbers for {} checkpoints; one for each is allowed", weights_of,
        coefficients.size(), count);
  check(std::abs(sum - 1) <= 1e-6, "average",
        "--weights-of {} adds up to {}; 1 (within 1e-6) is allowed", weights_of, sum);
  for (double& c : coefficients) c /= sum;
  return coefficients;
}

void check_even(const std::string& weights_of, const std::vector<int64_t>& steps) {
  for (size_t j = 2; j < steps.size(); ++j) {
    check(steps[j] - steps[j - 1] == steps[1] - steps[0], "average",
          "--weights-of {} over the steps {}, {}, {}; steps at one distance are allowed, as each "
          "stands for as many updates",
          weights_of, steps[j - 2], steps[j - 1], steps[j]);
  }
}

}  // namespace

std::vector<double> average_coefficients(const std::string& weights_of, const AverageSteps& of) {
  const size_t count = of.steps.size();
  const bool is_moving = weights_of.starts_with("ema:");
  const bool is_decay = weights_of == "linear" || weights_of == "cosine" || weights_of == "1-sqrt";
  check(of.of_one_path || !(is_moving || is_decay), "average",
        "--weights-of {} over several paths; uniform, or a number for each checkpoint is allowed",
        weights_of);
  if (weights_of == "uniform") return std::vector<double>(count, 1 / static_cast<double>(count));
  if (is_moving) return moving_average(weights_of, count);
  if (!is_decay) return given_numbers(weights_of, count);
  check_even(weights_of, of.steps);
  return imitated_decay(decay_style_named(weights_of), count);
}

std::string show_coefficients(const std::vector<double>& coefficients) {
  return fmt::format("{:.6g}", fmt::join(coefficients, ", "));
}

}  // namespace switchyard
