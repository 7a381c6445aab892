#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace switchyard {

enum class DecayStyle : uint8_t { constant, cosine, linear, one_minus_sqrt };
std::string_view name_of(DecayStyle style);           // "constant", "cosine", "linear", "1-sqrt"
DecayStyle decay_style_named(std::string_view name);  // throws Error

// The learning rate as a pure function of the step; it has no state. Up to step decay_begin it is
//   main(warmup_begin + n) = warmup_from + (maximum - warmup_from) * n / warmup, n = 0 ... warmup,
// and maximum behind the warm-up (warmup 0: at once); a decay is then, for n = 1 ... decay_iters,
//   lr(decay_begin + n) = minimum + (decay_from - minimum) * f(n / decay_iters),
// f(x) = 1 - x, (1 + cos(pi x)) / 2 or 1 - sqrt(x), and minimum behind its end.
// (Path switching: arXiv 2410.04103; 1-sqrt: arXiv 2405.18392.)
struct Schedule {
  double maximum = 0;
  double minimum = 0;
  int64_t warmup = 0;  // steps
  DecayStyle style = DecayStyle::constant;
  int64_t decay_begin = 0;   // the last step before the decay: the fork step, or the warm-up's end
  double decay_from = 0;     // the rate at that step
  int64_t decay_iters = 0;   // steps that the decay lasts
  int64_t warmup_begin = 0;  // the last step before the warm-up: 0, or the fork step that gave it
  double warmup_from = 0;    // the rate at that step
  int64_t warmup_end() const { return warmup_begin + warmup; }
  friend bool operator==(const Schedule&, const Schedule&) = default;
};

double learning_rate(const Schedule& schedule, int64_t step);  // steps count from 1; 0: the start

// A schedule from a random start: the decay begins after the warm-up and ends at step end_step.
// Throws Error for a decaying style without a positive end_step behind the warm-up, a negative rate
// or a minimum above the maximum; a decay that starts at its minimum.
Schedule schedule_from_scratch(double maximum, double minimum, int64_t warmup, DecayStyle style,
                               int64_t end_step);

// What a branch changes of its parent's schedule.
struct ScheduleChange {
  std::optional<double> maximum = {};  // without a warm-up: the rate from the first step on
  std::optional<int64_t> warmup = {};  // steps from the parent's rate to the maximum (the parent's)
  double minimum = 0;
  DecayStyle style = DecayStyle::constant;
  int64_t decay_iters = 0;  // steps from the fork to the decay's end, those of a warm-up among them
};

// A schedule for a branch of `parent` behind fork_step; docs/paths.md has the rates as a table.
// Without maximum and warmup the branch goes on from the parent's rate: its warm-up is finished
// first, and a constant style keeps the rate that the parent's decay has reached. A warm-up that is
// given at step 0 begins at rate 0. Throws Error for a negative fork step, a decay that ends
// before a warm-up does, or one that starts at its minimum or below it.
Schedule schedule_from_fork(const Schedule& parent, int64_t fork_step,
                            const ScheduleChange& change);

// The rates behind `step` where their course changes, for a log: of the first step, the last of a
// warm-up, the first and last of a decay; six digits.
std::string describe_rates(const Schedule& schedule, int64_t step);

}  // namespace switchyard
