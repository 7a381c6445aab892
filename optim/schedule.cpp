#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include "core/error.h"

namespace switchyard {

namespace {

constexpr int64_t most_steps = int64_t{1} << 53;  // sums of them stay exact

double main_rate(const Schedule& s, int64_t step) {
  if (step >= s.warmup_end()) return s.maximum;
  const int64_t n = std::max<int64_t>(step - s.warmup_begin, 0);
  return s.warmup_from +
         (s.maximum - s.warmup_from) * (static_cast<double>(n) / static_cast<double>(s.warmup));
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
  check(minimum <= maximum, where, "minimal rate (--min-lr) {} above the maximal rate (--lr) {}",
        minimum, maximum);
  check(warmup >= 0 && warmup <= most_steps, where, "{} warm-up steps; 0 to {} are allowed", warmup,
        most_steps);
}

// A decay behind step `begin`, where a schedule is at its maximum.
void add_decay(std::string_view where, Schedule& s, DecayStyle style, int64_t begin,
               int64_t steps) {
  check(s.minimum < s.maximum, where,
        "a {} decay to {} from step {}, where the rate is {}; it must begin above its minimum",
        name_of(style), s.minimum, begin, s.maximum);
  s.style = style;
  s.decay_begin = begin;
  s.decay_from = s.maximum;
  s.decay_iters = steps;
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
  check(name != "inverse-square-root", "decay style",
        "'{}' is not there yet; constant, cosine, linear and 1-sqrt are allowed", name);
  fail("decay style", "'{}' is unknown; constant, cosine, linear and 1-sqrt are allowed{}", name,
       name == "WSD"          ? " (a main path keeps its rate, and a branch of it decays: fork)"
       : name == "minus-sqrt" ? " (it is 1-sqrt here)"
                              : "");
}

double learning_rate(const Schedule& schedule, int64_t step) {
  check(step >= 0, "learning_rate", "step {}; steps count from 1, 0 is the start", step);
  const bool decays = schedule.style != DecayStyle::constant;
  if (!decays || step < schedule.decay_begin) return main_rate(schedule, step);
  if (step == schedule.decay_begin) return schedule.decay_from;
  const int64_t n = step - schedule.decay_begin;
  if (n >= schedule.decay_iters) return schedule.minimum;
  const double x = static_cast<double>(n) / static_cast<double>(schedule.decay_iters);
  return schedule.minimum + (schedule.decay_from - schedule.minimum) * remaining(schedule.style, x);
}

Schedule schedule_from_scratch(double maximum, double minimum, int64_t warmup, DecayStyle style,
                               int64_t end_step) {
  constexpr std::string_view where = "learning rate";
  check_rates(where, maximum, minimum, warmup);
  Schedule schedule{.maximum = maximum, .minimum = minimum, .warmup = warmup};
  if (style == DecayStyle::constant) return schedule;
  check(end_step > warmup, where,
        "a {} decay that ends at step {} (--lr-decay-iters), but the warm-up lasts to step {}; it "
        "must end behind it",
        name_of(style), end_step, warmup);
  check(end_step <= most_steps, where, "a {} decay that ends at step {}; {} at most is allowed",
        name_of(style), end_step, most_steps);
  add_decay(where, schedule, style, warmup, end_step - warmup);
  return schedule;
}

namespace {

// A branch's schedule but for its decay.
Schedule branch_main(const Schedule& parent, int64_t fork_step, const ScheduleChange& change) {
  const double rate = learning_rate(parent, fork_step);
  Schedule s{.maximum = parent.maximum,
             .minimum = change.minimum,
             .warmup = parent.warmup,
             .warmup_begin = parent.warmup_begin,
             .warmup_from = parent.warmup_from};
  if (change.maximum || change.warmup) {
    s.maximum = change.maximum.value_or(parent.maximum);
    s.warmup = change.warmup.value_or(0);
    s.warmup_begin = fork_step;
    s.warmup_from = fork_step == 0 ? 0 : rate;
  } else if (parent.style != DecayStyle::constant && fork_step >= parent.decay_begin) {
    s.maximum = rate;
    s.warmup = s.warmup_begin = 0;
    s.warmup_from = 0;
  }
  return s;
}

}  // namespace

Schedule schedule_from_fork(const Schedule& parent, int64_t fork_step,
                            const ScheduleChange& change) {
  constexpr std::string_view where = "learning rate";
  Schedule s = branch_main(parent, fork_step, change);
  check_rates(where, s.maximum, s.minimum, s.warmup);
  if (change.style == DecayStyle::constant) {
    check(s.maximum > 0 || change.maximum || s.maximum == parent.maximum, where,
          "the parent's rate has decayed to 0 at step {}; give a rate", fork_step);
    return s;
  }
  check(change.decay_iters >= 1 && change.decay_iters <= most_steps, where,
        "a {} decay over {} steps; 1 to {} are allowed", name_of(change.style), change.decay_iters,
        most_steps);
  const int64_t begin = std::max(fork_step, s.warmup_end());
  check(fork_step + change.decay_iters > begin, where,
        "a {} decay over {} steps from step {}, but the warm-up lasts to step {}; at least {} are "
        "needed",
        name_of(change.style), change.decay_iters, fork_step, begin, begin - fork_step + 1);
  add_decay(where, s, change.style, begin, fork_step + change.decay_iters - begin);
  return s;
}

std::string describe_rates(const Schedule& schedule, int64_t step) {
  std::vector<std::pair<int64_t, std::string>> named;
  const auto name = [&](int64_t at, const char* text) {
    if (at <= step) return;
    if (!named.empty() && named.back().first == at) {
      named.back().second += std::string(", ") + text;
    } else {
      named.emplace_back(at, text);
    }
  };
  const bool decays = schedule.style != DecayStyle::constant;
  name(step + 1, "first");
  if (schedule.warmup > 0 && !(decays && schedule.decay_begin < schedule.warmup_end())) {
    name(schedule.warmup_end(), "last of the warm-up");
  }
  if (decays) {
    name(schedule.decay_begin + 1, "first of the decay");
    name(schedule.decay_begin + schedule.decay_iters, "last of the decay");
  }
  std::string all;
  for (const auto& [at, text] : named) {
    all += fmt::format("{}{:.6g} at step {} ({})", all.empty() ? "" : ", ",
                       learning_rate(schedule, at), at, text);
  }
  return all;
}

}  // namespace switchyard
