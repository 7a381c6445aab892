#include "launch/spike.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <sstream>
#include <vector>

#include "core/error.h"
#include "launch/path/step_records.h"

namespace switchyard {

namespace {

constexpr size_t most_losses = 128, least_losses = 32;
constexpr double spreads = 8, least_rise = 0.1;
constexpr size_t averaged_steps = 3;

double median_of(std::vector<double> values) {
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::ranges::nth_element(values, middle);
  return *middle;
}

std::string samples_of(const PathSpecification& path, int64_t step) {
  return fmt::format("{}:{}", path.samples_at(step - 1), path.samples_at(step));
}

}  // namespace

std::optional<Spike> find_spike(const std::deque<double>& before, double loss) {
  if (before.size() < least_losses) return std::nullopt;
  std::vector<double> values(before.begin(), before.end());
  const double median = median_of(values);
  for (double& value : values) value = std::abs(value - median);
  const double spread = 1.4826 * median_of(values);
  const Spike spike{loss, median, median + std::max(spreads * spread, least_rise)};
  return loss > spike.bound ? std::optional(spike) : std::nullopt;
}

std::optional<Spike> SpikeWatch::add(int64_t step, double loss) {
  if (!std::isfinite(loss) || step <= path_.start_step()) return std::nullopt;
  int64_t stage = 0;
  for (const auto& each : path_.stages) {
    if (each.first_sample <= path_.samples_at(step - 1)) stage = each.first_sample;
  }
  if (stage != stage_) losses_.clear();  // other data may have another loss
  stage_ = stage;
  const auto spike = find_spike(losses_, loss);
  losses_.push_back(loss);
  if (losses_.size() > most_losses) losses_.pop_front();
  return spike;
}

std::string recorded_losses(const RunFolder& run, int64_t step) {
  std::error_code ignored;
  if (!std::filesystem::exists(run.folder() / "metrics.jsonl", ignored)) return "";
  std::vector<std::string> lines;
  const auto records = read_step_records(run.folder());
  for (auto record = records.rbegin(); record != records.rend(); ++record) {
    if (record->first > step || std::isnan(record->second.values[0])) continue;
    lines.push_back(fmt::format("{} {}", record->first, record->second.values[0]));
    if (lines.size() == most_losses) break;
  }
  std::ranges::reverse(lines);
  return fmt::format("{}", fmt::join(lines, "\n"));
}

void add_recorded(SpikeWatch& watch, const std::string& losses) {
  std::istringstream lines(losses);
  int64_t step = 0;
  double loss = 0;
  while (lines >> step >> loss) watch.add(step, loss);
}

std::string describe(const PathSpecification& path, int64_t step, const Spike& spike) {
  return fmt::format(
      "the loss of step {} is {:.4f}, a spike: above {:.4f}, the last ones' median being {:.4f}; "
      "it read the samples {}",
      step, spike.loss, spike.bound, spike.median, samples_of(path, step));
}

std::string rescue_commands(const RunFolder& run, const PathSpecification& path, int64_t step) {
  std::vector<int64_t> saved;
  for (const auto& entry : list_checkpoints(run.checkpoints())) {
    if (entry.complete && entry.step < step) saved.push_back(entry.step);
  }
  if (saved.empty()) return "";
  if (saved.size() > averaged_steps) saved.erase(saved.begin(), saved.end() - averaged_steps);
  std::string name = run.folder().string();
  if (name.ends_with('.')) name = std::filesystem::absolute(name).lexically_normal().string();
  while (name.size() > 1 && name.back() == '/') name.pop_back();
  const std::string mean = fmt::format("{}-mean-{}", name, step);
  const std::string steps = saved.size() == 1 ? fmt::format("{0}:{0}:1", saved[0])
                                              : fmt::format("{}", fmt::join(saved, ","));
  return fmt::format(
      "around its samples, from the mean of the steps saved before it:\n"
      "  switchyard {}\n  switchyard {}",
      show({"average", name, "--steps", steps, "--output", mean}),
      show({"fork", mean, fmt::format("{}-past-{}", name, step), "--skip-samples",
            samples_of(path, step)}));
}

}  // namespace switchyard
