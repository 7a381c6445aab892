#include "launch/path/saved_specification.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "launch/path/specification_checks.h"

namespace switchyard {

namespace {

std::string describe(const LineageEntry& fork) {
  return fmt::format("step {} (sample {}{}{})", fork.step, fork.samples,
                     fork.checkpoint.empty() ? "" : ", checkpoint ", fork.checkpoint);
}

std::string describe(const std::vector<LineageEntry>& lineage) {
  return lineage.empty() ? "a random start" : "a fork from " + describe(lineage.back());
}

// Parents may have moved, and what published weights are known by is in their documents.
bool is_same_fork(const LineageEntry& a, const LineageEntry& b) {
  const bool named = !a.checkpoint.empty() && !b.checkpoint.empty();
  const bool same_weights = a.imported && b.imported;
  return a.step == b.step && a.samples == b.samples &&
         (!named || same_weights || a.checkpoint == b.checkpoint);
}

}  // namespace

void check_saved_specification(const PathSpecification& path, const CheckpointInfo& info,
                               const std::string& step) {
  const auto text = info.documents.find("specification");
  if (text == info.documents.end()) return;
  const auto saved = PathSpecification::from_json(text->second, "the checkpoint");
  if (path.kind != "path" || saved.kind != "path") return;
  const auto differs = [&](std::string_view what, const auto& in_step, const auto& in_path) {
    fail(ExitCode::storage, "path",
         "{} was saved with {} {}, and path.json says {}; it is another run's, or path.json was "
         "changed",
         step, what, in_step, in_path);
  };
  if (path.seeds.initial() != saved.seeds.initial())
    differs("the seed", saved.seeds.initial(), path.seeds.initial());
  if (path.model.to_json() != saved.model.to_json())
    differs("the model", saved.model.to_json(), path.model.to_json());
  for (const auto& [name, values] : saved.settings.all()) {
    if (name == "data-path" || !path.settings.has(name)) continue;
    if (is_same_setting(name, path.settings, saved.settings)) continue;
    differs("--" + name, fmt::format("{}", fmt::join(values, " ")),
            fmt::format("{}", fmt::join(path.settings.list(name), " ")));
  }
  if (!std::ranges::equal(path.lineage, saved.lineage, is_same_fork))
    differs("the origin", describe(saved.lineage), describe(path.lineage));
}

}  // namespace switchyard
