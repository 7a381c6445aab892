#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "launch/path/run_folder.h"

namespace switchyard {

// A loss spikes when it is above the median of the newest finite losses before it on the same stage
// of data (128 at most, 32 at least; fewer say nothing) by more than 8 spreads and more than 0.1. A
// spread is 1.4826 median absolute deviations, which of normal noise is a standard deviation
// (Hampel 1974); a falling loss widens it. By that count normal noise spikes less often than once
// in 1e12 steps.
struct Spike {
  double loss = 0;
  double median = 0;
  double bound = 0;  // what it is above
};
std::optional<Spike> find_spike(const std::deque<double>& before, double loss);

// The losses of a path's steps as they come. Every rank holds the same.
class SpikeWatch {
 public:
  explicit SpikeWatch(const PathSpecification& path) : path_(path) {}
  std::optional<Spike> add(int64_t step, double loss);  // not finite ones are passed over

 private:
  const PathSpecification& path_;
  int64_t stage_ = -1;  // its first sample
  std::deque<double> losses_;
};

// metrics.jsonl up to `step`, newest last, as "STEP LOSS" lines: what a watch has to know again at
// a start. Empty where there is no log yet.
std::string recorded_losses(const RunFolder& run, int64_t step);
void add_recorded(SpikeWatch& watch, const std::string& losses);

std::string describe(const PathSpecification& path, int64_t step, const Spike& spike);
// The two commands that lead past a step, with its samples: the mean of the newest saved steps
// before it (3 at most), and a branch of that which leaves the step's samples out. Empty where no
// step before it is saved.
std::string rescue_commands(const RunFolder& run, const PathSpecification& path, int64_t step);

}  // namespace switchyard
