#include "optim/schedule.h"

#include <cmath>
#include <numbers>

#include "core/error.h"

namespace switchyard {

namespace {

double main_rate(const Schedule& s, int64_t step) {
  if (step >= s.warmup) return s.maximum;
  return s.maximum * (static_cast<double>(step) / static_cast<double>(s.warmup));
}

// What is left of the way from decay_from to minimum, after the share x of the decay's steps.
double remaining(DecayStyle style, double x) {
  switch (style) {
    case DecayStyle::constant:
      return 1.0;
    case DecayStyle::cosine:
      return 0.5 * (1.0 + std::cos(std::numbers::pi * x));
    case DecayStyle::linear:
      return 1.0 - x;
    case DecayStyle::one_minus_sqrt:
      return 1.0 - std::sqrt(x);
  }
  fail("learning_rate", "decay style number {}; constant, cosine, linear and 1-sqrt are known",
       static_cast<int>(style));
}

void check_rates(std::string_view where, double maximum, double minimum, int64_t warmup) {
  check(std::isfinite(maximum) && maximum >= 0, where,
        "maximal rate {}; a number of at least 0 is needed", maximum);
  check(std::isfinite(minimum) && minimum >= 0, where,
        "minimal rate {}; a number of at least 0 is needed", minimum);
  check(minimum <= maximum, where, "minimal rate {} above the maximal rate {}", minimum, maximum);
  check(warmup >= 0, where, "{} warm-up steps; at least 0 are needed", warmup);
}

}  // namespace

std::string_view name_of(DecayStyle style) {
  switch (style) {
    case DecayStyle::constant:
      return "constant";
    case DecayStyle::cosine:
      return "cosine";
    case DecayStyle::linear:
      return "linear";
    case DecayStyle::one_minus_sqrt:
      return "1-sqrt";
  }
  return "unknown";
}

DecayStyle decay_style_named(std::string_view name) {
  for (const DecayStyle style :
       {DecayStyle::constant, DecayStyle::cosine, DecayStyle::linear, DecayStyle::one_minus_sqrt}) {
    if (name == name_of(style)) return style;
  }
  fail("decay style", "'{}' is unknown; constant, cosine, linear and 1-sqrt are allowed", name);
}

double learning_rate(const Schedule& schedule, int64_t step) {
  check(step >= 0, "learning_rate", "step {}; steps count from 1, 0 is the start", step);
  const bool decays = schedule.style != DecayStyle::constant;
  if (!decays || step <= schedule.decay_begin) return main_rate(schedule, step);
  const int64_t n = step - schedule.decay_begin;
  if (n >= schedule.decay_iters) return schedule.minimum;
  const double x = static_cast<double>(n) / static_cast<double>(schedule.decay_iters);
  return schedule.minimum + (schedule.decay_from - schedule.minimum) * remaining(schedule.style, x);
}

Schedule schedule_from_scratch(double maximum, double minimum, int64_t warmup, DecayStyle style,
                               int64_t end_step) {
  constexpr std::string_view where = "schedule_from_scratch";
  check_rates(where, maximum, minimum, warmup);
  Schedule schedule{.maximum = maximum, .minimum = minimum, .warmup = warmup, .style = style};
  if (style == DecayStyle::constant) return schedule;
  check(end_step > warmup, where,
        "a {} decay that ends at step {} after {} warm-up steps; it must end behind them",
        name_of(style), end_step, warmup);
  schedule.decay_begin = warmup;
  schedule.decay_from = maximum;
  schedule.decay_iters = end_step - warmup;
  return schedule;
}

Schedule schedule_from_fork(const Schedule& parent, int64_t fork_step, double maximum,
                            double minimum, int64_t warmup, DecayStyle style, int64_t decay_iters) {
  constexpr std::string_view where = "schedule_from_fork";
  check_rates(where, maximum, minimum, warmup);
  check(fork_step >= 0, where, "fork at step {}; at least 0 is needed", fork_step);
  Schedule schedule{.maximum = maximum, .minimum = minimum, .warmup = warmup, .style = style};
  if (style == DecayStyle::constant) return schedule;
  check(decay_iters >= 1, where, "a {} decay over {} steps; at least 1 is needed", name_of(style),
        decay_iters);
  schedule.decay_begin = fork_step;
  schedule.decay_from = learning_rate(parent, fork_step);
  check(minimum <= schedule.decay_from, where,
        "a decay to {} from step {}, where the parent's rate is {}; it must not rise", minimum,
        fork_step, schedule.decay_from);
  schedule.decay_iters = decay_iters;
  return schedule;
}

}  // namespace switchyard
