#include "launch/campaign/step_counts.h"

#include <algorithm>
#include <fstream>

#include "core/error.h"
#include "core/json.h"
#include "launch/campaign/found.h"
#include "launch/path/run_folder.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

// The step of each whole line, ascending.
std::vector<int64_t> steps_in(const fs::path& file) {
  std::vector<int64_t> steps;
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    const auto parsed = parse_json_or_discard(line);
    if (parsed.is_object() && parsed.contains("step"))
      steps.push_back(parsed["step"].get<int64_t>());
  }
  check(!stream.bad(), ExitCode::storage, "campaign", "{} cannot be read", file.string());
  std::ranges::sort(steps);
  return steps;
}

int64_t count_up_to(const std::vector<int64_t>& steps, int64_t until) {
  return std::ranges::upper_bound(steps, until) - steps.begin();
}

}  // namespace

StepCounter::PathSteps StepCounter::read(const fs::path& run) {
  PathSteps steps;
  const RunFolder folder(run);
  if (!folder.exists()) return steps;
  steps.made = steps_in(run / "metrics.jsonl");
  steps.made.erase(std::unique(steps.made.begin(), steps.made.end()), steps.made.end());
  steps.discarded = steps_in(run / "metrics.discarded.jsonl");
  const auto path = folder.read();
  if (path.lineage.empty() || !path.lineage.back().replayed) return steps;
  const auto& from = *path.lineage.back().replayed;
  if (!from.outcome.empty()) steps.replayed = path.start_step() - from.step;
  return steps;
}

StepCounts StepCounter::of(const DesiredVersion& version) {
  StepCounts all;
  for (const auto& part : version.parts) {
    auto found = paths_.find(part.path);
    if (found == paths_.end())
      found = paths_.emplace(part.path, read(folder_of(campaign_, part.path))).first;
    all.counted += count_up_to(found->second.made, part.until);
    all.redone += count_up_to(found->second.discarded, part.until);
    all.replayed += found->second.replayed;
  }
  return all;
}

}  // namespace switchyard
