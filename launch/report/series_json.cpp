#include "launch/report/series_json.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "core/error.h"
#include "core/text.h"
#include "launch/report/thinning.h"

namespace switchyard {

namespace {

using Values = std::vector<double>;

Values column(const StepLog& log, double LoggedStep::*value) {
  Values values;
  for (const auto& step : log.steps) values.push_back(step.*value);
  return values;
}

bool is_known(const Values& values) {
  return std::ranges::any_of(values, [](double value) { return std::isfinite(value); });
}

void add_steps(const StepLog& log, const std::vector<size_t>& places, Json& series) {
  Json& steps = series["step"] = Json::array();
  for (const size_t i : places) steps.push_back(log.steps[i].step);
}

void add_values(const Values& values, const std::vector<size_t>& places, Json& column) {
  column = Json::array();
  for (const size_t i : places) column.push_back(shown_number(values[i]));
}

void add_losses(const StepLog& log, size_t buckets, Json& path) {
  const Values losses = column(log, &LoggedStep::loss);
  std::vector<bool> spikes;
  Json& marked = path["spikes"] = {{"step", Json::array()}, {"loss", Json::array()}};
  Json& lost = path["lost"] = Json::array();
  for (const auto& step : log.steps) {
    spikes.push_back(step.spike);
    if (step.spike) marked["step"].push_back(step.step);
    if (step.spike) marked["loss"].push_back(shown_number(step.loss));
    if (!std::isfinite(step.loss)) lost.push_back(step.step);
  }
  const auto places = thinned(losses, buckets, spikes);
  add_steps(log, places, path["train"]);
  add_values(losses, places, path["train"]["loss"]);
  path["steps"] = log.steps.size();
  path["thinned"] = places.size() < log.steps.size();
}

void add_means(const StepLog& log, size_t longest, Json& path) {
  const size_t count = log.steps.size();
  const size_t window = std::max<size_t>(1, std::min((count + 9) / 10, longest));
  Json& mean = path["mean"] = {{"window", window}, {"step", Json::array()}};
  for (size_t begin = 0; begin < count; begin += window) {
    mean["step"].push_back(log.steps[(begin + std::min(begin + window, count) - 1) / 2].step);
  }
  const std::pair<const char*, double LoggedStep::*> columns[] = {
      {"loss", &LoggedStep::loss},
      {"tokens", &LoggedStep::tokens_per_second},
      {"gflops", &LoggedStep::gflops},
      {"mfu", &LoggedStep::mfu}};
  for (const auto& [name, value] : columns) {
    const Values values = column(log, value);
    if (!is_known(values)) continue;
    Json& means = mean[name] = Json::array();
    for (const double each : window_means(values, window)) means.push_back(shown_number(each));
  }
}

void add_speed(const StepLog& log, size_t buckets, Json& path) {
  const Values tokens = column(log, &LoggedStep::tokens_per_second);
  const auto places = thinned(tokens, buckets);
  Json& speed = path["speed"];
  add_steps(log, places, speed);
  const std::pair<const char*, double LoggedStep::*> columns[] = {
      {"tokens", &LoggedStep::tokens_per_second},
      {"gflops", &LoggedStep::gflops},
      {"mfu", &LoggedStep::mfu}};
  for (const auto& [name, value] : columns) {
    const Values values = column(log, value);
    if (is_known(values)) add_values(values, places, speed[name]);
  }
}

void add_rates(const StepLog& log, size_t buckets, Json& path) {
  const Values rates = column(log, &LoggedStep::learning_rate);
  const auto places = thinned(rates, buckets);
  add_steps(log, places, path["rate"]);
  add_values(rates, places, path["rate"]["rate"]);
}

// Of each average a column as long as the raw weights': null where it had no value yet.
void add_validations(const StepLog& log, size_t buckets, Json& path) {
  Values raw;
  std::set<std::string> names;
  for (const auto& each : log.validations) {
    raw.push_back(each.raw);
    for (const auto& [name, loss] : each.averages) names.insert(name);
  }
  const auto places = thinned(raw, buckets);
  Json& all = path["validation"] = {{"count", raw.size()}, {"step", Json::array()}};
  for (const size_t i : places) all["step"].push_back(log.validations[i].step);
  add_values(raw, places, all["raw"]);
  all["averages"] = Json::object();
  for (const auto& name : names) {
    Json& values = all["averages"][name] = Json::array();
    for (const size_t i : places) {
      const auto& averages = log.validations[i].averages;
      const auto found = std::ranges::find(averages, name, [](const auto& a) { return a.first; });
      values.push_back(found == averages.end() ? Json() : shown_number(found->second));
    }
  }
}

}  // namespace

Json shown_number(double value) {
  if (!std::isfinite(value)) return {};
  const auto rounded = parse_number<double>(fmt::format("{:.6g}", value));
  return *rounded;
}

void add_series(const StepLog& log, const Resolution& resolution, Json& path) {
  const size_t buckets = resolution.buckets;
  add_losses(log, buckets, path);
  add_means(log, resolution.window, path);
  add_rates(log, buckets / 4, path);
  add_speed(log, buckets / 2, path);
  add_validations(log, buckets, path);
}

void add_planned_rates(const Schedule& schedule, int64_t step, int64_t end, Json& path) {
  if (end <= step) return;
  constexpr int64_t pieces = 160;
  const int64_t first = std::max<int64_t>(step, 1);
  std::set<int64_t> steps = {first, end};
  for (int64_t i = 1; i < pieces; ++i) steps.insert(first + (end - first) * i / pieces);
  // Where the course changes, a straight line between points would cut the corner.
  for (const int64_t turn : {schedule.warmup_end(), schedule.decay_begin, schedule.decay_begin + 1,
                             schedule.decay_begin + schedule.decay_iters}) {
    if (turn > first && turn < end) steps.insert(turn);
  }
  Json& planned = path["planned"] = {{"step", Json::array()}, {"rate", Json::array()}};
  for (const int64_t each : steps) {
    planned["step"].push_back(each);
    planned["rate"].push_back(shown_number(learning_rate(schedule, each)));
  }
}

}  // namespace switchyard
