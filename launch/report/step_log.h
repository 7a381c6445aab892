#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/json.h"

namespace switchyard {

// What the page shows of a step; NaN where RUN/metrics.jsonl says nothing or what is not finite.
struct LoggedStep {
  int64_t step = 0, start = 0, tokens = 0;
  double loss = 0, learning_rate = 0, tokens_per_second = 0, gflops = 0, mfu = 0;
  double milliseconds = 0;
  bool spike = false;
};

// On the same sample with the raw weights and with those of each average.
struct LoggedValidation {
  int64_t step = 0;
  double raw = 0;
  std::vector<std::pair<std::string, double>> averages;
};

// Steps of a start that were given up: made, and not part of the path.
struct GivenUp {
  int64_t start = 0, first = 0, last = 0, steps = 0;
  double milliseconds = 0;  // of all of them
};

struct StepLog {
  std::vector<LoggedStep> steps;  // ascending
  std::vector<LoggedValidation> validations;
  std::vector<GivenUp> given_up;  // by start
};

// Hands out the lines of a file that are whole objects, one at a time; none where there is no such
// file. Throws Error where it cannot be read.
void for_each_line(const std::filesystem::path& file, const std::function<void(const Json&)>& use);

// The number of this name; NaN where there is none.
double number_in(const Json& line, const char* name);
int64_t integer_in(const Json& line, const char* name);  // 0 where there is none

// RUN/metrics.jsonl and RUN/metrics.discarded.jsonl. A step that is there twice counts as given up
// the first time. Throws Error where they cannot be read.
StepLog read_step_log(const std::filesystem::path& run);

}  // namespace switchyard
