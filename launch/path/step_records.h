#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>

namespace switchyard {

// What RUN/metrics.jsonl says of a step that another run of it has to repeat; NaN where it says
// nothing, and for what is not finite.
struct StepRecord {
  static constexpr std::array<const char*, 4> names = {"loss", "grad_norm", "learning_rate",
                                                       "validation_loss"};
  int64_t start = 0;  // the number of the path's start that made it
  std::array<double, names.size()> values{};
};

// By step. Lines that are not whole are left out. Throws Error where the file cannot be read.
std::map<int64_t, StepRecord> read_step_records(const std::filesystem::path& run);

// |a - b| over the larger of both: 0 for two numbers that are alike and for two NaNs, infinite for
// a number and a NaN.
double relative_difference(double a, double b);

}  // namespace switchyard
