#pragma once

#include <cstdint>
#include <string_view>

namespace switchyard {

enum class DecayStyle : uint8_t { constant, cosine, linear, one_minus_sqrt };
std::string_view name_of(DecayStyle style);           // "constant", "cosine", "linear", "1-sqrt"
DecayStyle decay_style_named(std::string_view name);  // throws Error

// The learning rate as a pure function of the step; it has no state. The main path is
//   main(s) = maximum * min(1, s / warmup)            (warmup 0: maximum at once)
// for ever; a decay follows it up to step decay_begin and is then, for n = 1 ... decay_iters,
//   lr(decay_begin + n) = minimum + (decay_from - minimum) * f(n / decay_iters),
// f(x) = 1 - x, (1 + cos(pi x)) / 2 or 1 - sqrt(x), and minimum behind its end.
// (Path switching: arXiv 2410.04103; 1-sqrt: arXiv 2405.18392.)
struct Schedule {
  double maximum = 0;
  double minimum = 0;
  int64_t warmup = 0;  // steps
  DecayStyle style = DecayStyle::constant;
  int64_t decay_begin = 0;  // the last step before the decay: the fork step, or the warm-up's end
  double decay_from = 0;    // the rate at that step
  int64_t decay_iters = 0;  // steps that the decay lasts
  friend bool operator==(const Schedule&, const Schedule&) = default;
};

double learning_rate(const Schedule& schedule, int64_t step);  // steps count from 1; 0: the start

// A schedule from a random start: the decay begins after the warm-up and ends at step end_step.
// Throws Error for a decaying style without a positive end_step behind the warm-up, a negative rate
// or a minimum above the maximum.
Schedule schedule_from_scratch(double maximum, double minimum, int64_t warmup, DecayStyle style,
                               int64_t end_step);
// A schedule for a branch of `parent` at fork_step: its decay starts there from the parent's rate.
// A constant style goes on at `maximum` after `warmup` as the main path does. Throws Error for a
// negative fork step, a decay without steps, and a minimum above the rate that it decays from.
Schedule schedule_from_fork(const Schedule& parent, int64_t fork_step, double maximum,
                            double minimum, int64_t warmup, DecayStyle style, int64_t decay_iters);

}  // namespace switchyard
