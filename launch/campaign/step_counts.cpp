#include "launch/campaign/step_counts.h"

#include <fstream>
#include <set>
#include <string>

#include "core/error.h"
#include "core/json.h"
#include "launch/campaign/found.h"
#include "launch/path/run_folder.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

// The step of each whole line.
template <class Body>
void for_each_step(const fs::path& file, const Body& body) {
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    const auto parsed = parse_json_or_discard(line);
    if (parsed.is_object() && parsed.contains("step")) body(parsed["step"].get<int64_t>());
  }
  check(!stream.bad(), ExitCode::storage, "campaign", "{} cannot be read", file.string());
}

}  // namespace

StepCounts count_steps(const fs::path& run, int64_t until) {
  StepCounts counts;
  const RunFolder folder(run);
  if (!folder.exists()) return counts;
  std::set<int64_t> once;
  for_each_step(run / "metrics.jsonl", [&](int64_t step) {
    if (step <= until) once.insert(step);
  });
  counts.counted = static_cast<int64_t>(once.size());
  for_each_step(run / "metrics.discarded.jsonl", [&](int64_t step) {
    if (step <= until) ++counts.redone;
  });
  const auto path = folder.read();
  if (path.lineage.empty() || !path.lineage.back().replayed) return counts;
  const auto& from = *path.lineage.back().replayed;
  if (!from.outcome.empty()) counts.replayed = path.start_step() - from.step;
  return counts;
}

StepCounts count_steps(const Campaign& campaign, const DesiredVersion& version) {
  StepCounts all;
  for (const auto& part : version.parts) {
    const auto counts = count_steps(folder_of(campaign, part.path), part.until);
    all.counted += counts.counted;
    all.redone += counts.redone;
    all.replayed += counts.replayed;
  }
  return all;
}

}  // namespace switchyard
