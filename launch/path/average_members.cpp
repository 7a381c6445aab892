#include "launch/path/average_members.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <optional>
#include <sstream>

#include "core/error.h"
#include "core/json.h"
#include "core/text.h"
#include "launch/path/run_folder.h"

namespace switchyard {

namespace {

constexpr int64_t most_steps = 1000;

std::vector<int64_t> parse_list(const std::string& text) {
  std::vector<int64_t> steps;
  for (const auto part : split_at(',', text)) {
    const auto step = parse_number<int64_t>(part);
    check(step.value_or(-1) > (steps.empty() ? -1 : steps.back()), "average",
          "--steps {}; steps that rise are allowed", text);
    steps.push_back(*step);
  }
  return steps;
}

}  // namespace

std::string AverageMember::to_string() const {
  return fmt::format("{}@{} (checkpoint {})", run, step, checkpoint);
}

std::vector<int64_t> parse_steps(const std::string& text) {
  if (text.find(',') != std::string::npos) return parse_list(text);
  std::vector<int64_t> numbers;
  for (const auto part : split_at(':', text)) {
    const auto step = parse_number<int64_t>(part);
    check(step.value_or(-1) >= 0, "average",
          "--steps {}; A:B:EVERY with steps of at least 0 is allowed", text);
    numbers.push_back(*step);
  }
  check(numbers.size() == 3 && numbers[0] <= numbers[1] && numbers[2] > 0, "average",
        "--steps {}; A:B:EVERY with A not above B and EVERY above 0 is allowed", text);
  check((numbers[1] - numbers[0]) % numbers[2] == 0, "average",
        "--steps {}: {} is not met from {} by steps of {}", text, numbers[1], numbers[0],
        numbers[2]);
  const int64_t count = (numbers[1] - numbers[0]) / numbers[2] + 1;
  check(count <= most_steps, "average", "--steps {} are {} steps; at most {} are allowed", text,
        count, most_steps);
  std::vector<int64_t> steps;
  for (int64_t i = 0; i < count; ++i) steps.push_back(numbers[0] + i * numbers[2]);
  return steps;
}

std::vector<AverageMember> members_of(const std::string& run, const std::vector<int64_t>& steps) {
  std::vector<AverageMember> members;
  members.reserve(steps.size());
  for (const int64_t step : steps) members.push_back({run, step});
  return members;
}

std::vector<AverageMember> parse_members(const std::vector<std::string>& names,
                                         const std::string& steps) {
  check(!names.empty(), "average", "no run; RUN --steps ..., or RUN@STEP RUN@STEP ... is allowed");
  if (!steps.empty()) {
    check(names.size() == 1, "average",
          "--steps {} with {} names; one RUN, or RUN@STEP RUN@STEP ... without --steps is allowed",
          steps, names.size());
    const auto run = parse_run_reference(names.front());
    check(!run.step.has_value(), "average", "'{}' with --steps {}; RUN without a step is allowed",
          names.front(), steps);
    return members_of(run.folder.string(), parse_steps(steps));
  }
  std::vector<AverageMember> members;
  std::map<std::string, std::optional<int64_t>> newest;
  for (const auto& name : names) {
    const auto reference = parse_run_reference(name);
    check(reference.step.has_value(), "average",
          "'{}' without --steps; RUN --steps A:B:EVERY, or RUN@STEP RUN@STEP ... is allowed", name);
    members.push_back({reference.folder.string(), *reference.step});
    std::error_code ignored;
    const auto real = std::filesystem::absolute(reference.folder);
    auto& before = newest[std::filesystem::weakly_canonical(real, ignored).string()];
    check(*reference.step > before.value_or(-1), "average",
          "'{}'{}; saved steps that rise along a path are allowed", name,
          before ? fmt::format(" behind step {}", *before) : "");
    before = *reference.step;
  }
  check(static_cast<int64_t>(members.size()) <= most_steps, "average",
        "{} checkpoints; at most {} are allowed", members.size(), most_steps);
  return members;
}

std::vector<int64_t> steps_of(const std::vector<AverageMember>& members) {
  std::vector<int64_t> steps;
  steps.reserve(members.size());
  for (const auto& member : members) steps.push_back(member.step);
  return steps;
}

std::vector<std::string> runs_of(const std::vector<AverageMember>& members) {
  std::vector<std::string> runs;
  for (const auto& member : members) {
    if (std::ranges::count(runs, member.run) == 0) runs.push_back(member.run);
  }
  return runs;
}

// Four or more at one distance are given by their first two and their last.
std::string show_steps(const std::vector<int64_t>& steps) {
  std::vector<std::string> words;
  for (size_t i = 0; i < steps.size(); ++i) {
    size_t end = i + 1;
    while (end + 1 < steps.size() && steps[end + 1] - steps[end] == steps[i + 1] - steps[i]) ++end;
    words.push_back(fmt::format("{}", steps[i]));
    if (end >= steps.size() || end - i < 3) continue;
    words.push_back(fmt::format("{}", steps[i + 1]));
    words.push_back(fmt::format("... {}", steps[end]));
    i = end;
  }
  return fmt::format("{}", fmt::join(words, ", "));
}

std::string describe(const std::vector<AverageMember>& members) {
  if (runs_of(members).size() == 1) {
    return fmt::format("the steps {} of '{}'", show_steps(steps_of(members)), members.front().run);
  }
  std::vector<std::string> names;
  names.reserve(members.size());
  for (const auto& member : members) names.push_back(fmt::format("{}@{}", member.run, member.step));
  return fmt::format("{}", fmt::join(names, ", "));
}

std::vector<AverageMember> members_in(const CheckpointInfo& info) {
  std::vector<AverageMember> members;
  const auto lineage = info.documents.find("lineage");
  std::istringstream lines(lineage == info.documents.end() ? "" : lineage->second);
  for (std::string line; std::getline(lines, line);) {
    const size_t at = line.rfind('@'), id = line.rfind(" (checkpoint ");
    if (at == std::string::npos || id == std::string::npos || id < at || !line.ends_with(')'))
      continue;
    const std::string_view step = std::string_view(line).substr(at + 1, id - at - 1);
    members.push_back({line.substr(0, at), parse_number<int64_t>(step).value_or(0),
                       line.substr(id + 13, line.size() - id - 14)});
  }
  return members;
}

std::string weights_of_in(const CheckpointInfo& info) {
  const auto document = info.documents.find("average");
  if (document == info.documents.end()) return "uniform";
  return parse_json(document->second).value("weights_of", "uniform");
}

}  // namespace switchyard
