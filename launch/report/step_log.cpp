#include "launch/report/step_log.h"

#include <algorithm>
#include <fstream>
#include <limits>

#include "core/error.h"

namespace fs = std::filesystem;

namespace switchyard {

void for_each_line(const fs::path& file, const std::function<void(const Json&)>& use) {
  std::error_code problem;
  const bool is_there = fs::exists(file, problem);
  check(!problem, "file", "'{}' cannot be looked into: {}", file.string(), problem.message());
  if (!is_there) return;
  std::ifstream stream(file, std::ios::binary);
  check(stream.good() && !fs::is_directory(file, problem), "file", "'{}' cannot be read",
        file.string());
  for (std::string line; std::getline(stream, line);) {
    const Json parsed = parse_json_or_discard(line);
    if (parsed.is_object()) use(parsed);
  }
  check(!stream.bad(), "file", "'{}' cannot be read to its end", file.string());
}

double number_in(const Json& line, const char* name) {
  const auto found = line.find(name);
  const bool is_number = found != line.end() && found->is_number();
  return is_number ? found->get<double>() : std::numeric_limits<double>::quiet_NaN();
}

int64_t integer_in(const Json& line, const char* name) {
  const auto found = line.find(name);
  return found != line.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
}

namespace {

LoggedStep step_of(const Json& line) {
  LoggedStep step{.step = integer_in(line, "step"),
                  .start = integer_in(line, "start"),
                  .tokens = integer_in(line, "tokens"),
                  .loss = number_in(line, "loss"),
                  .learning_rate = number_in(line, "learning_rate"),
                  .tokens_per_second = number_in(line, "tokens_per_second"),
                  .gflops = number_in(line, "gflops"),
                  .mfu = number_in(line, "mfu"),
                  .milliseconds = number_in(line, "milliseconds")};
  const auto spike = line.find("spike");
  step.spike = spike != line.end() && spike->is_boolean() && spike->get<bool>();
  return step;
}

void add_validation(const Json& line, std::vector<LoggedValidation>& all) {
  if (!line.contains("validation_loss")) return;
  LoggedValidation one{integer_in(line, "step"), number_in(line, "validation_loss"), {}};
  const auto averages = line.find("validation_averages");
  if (averages != line.end() && averages->is_object()) {
    for (const auto& [name, average] : averages->items()) {
      if (average.is_object()) one.averages.emplace_back(name, number_in(average, "loss"));
    }
  }
  all.push_back(std::move(one));
}

void give_up(const LoggedStep& step, std::vector<GivenUp>& all) {
  auto found = std::ranges::find(all, step.start, &GivenUp::start);
  if (found == all.end()) {
    all.push_back({.start = step.start, .first = step.step, .last = step.step});
    found = std::prev(all.end());
  }
  found->first = std::min(found->first, step.step);
  found->last = std::max(found->last, step.step);
  ++found->steps;
  if (step.milliseconds > 0) found->milliseconds += step.milliseconds;
}

}  // namespace

StepLog read_step_log(const fs::path& run) {
  StepLog log;
  for_each_line(run / "metrics.discarded.jsonl", [&](const Json& line) {
    if (line.contains("step")) give_up(step_of(line), log.given_up);
  });
  for_each_line(run / "metrics.jsonl", [&](const Json& line) {
    const int64_t step = integer_in(line, "step");
    if (step <= 0) return;
    while (!log.steps.empty() && log.steps.back().step >= step) {
      give_up(log.steps.back(), log.given_up);
      log.steps.pop_back();
    }
    while (!log.validations.empty() && log.validations.back().step >= step) {
      log.validations.pop_back();
    }
    log.steps.push_back(step_of(line));
    add_validation(line, log.validations);
  });
  std::ranges::sort(log.given_up, {}, &GivenUp::start);
  return log;
}

}  // namespace switchyard
