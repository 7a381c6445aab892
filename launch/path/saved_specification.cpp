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

// What is read before the sample. Sets may have moved; identities are those of their tokens.
std::vector<DataStage> stages_before(const PathSpecification& path, int64_t sample) {
  const auto begins_behind = [&](const auto& part) { return part.first_sample >= sample; };
  std::vector<DataStage> stages = path.stages;
  std::erase_if(stages, begins_behind);
  for (DataStage& stage : stages) std::erase_if(stage.skips, begins_behind);
  return stages;
}

bool is_same_stage(const DataStage& a, const DataStage& b) {
  const auto is_same_source = [](const DataSource& one, const DataSource& other) {
    const bool known = !one.identity.empty() && !other.identity.empty();
    return one.weight == other.weight && (!known || one.identity == other.identity);
  };
  return a.first_sample == b.first_sample && a.skips == b.skips &&
         std::ranges::equal(a.sources, b.sources, is_same_source);
}

std::string describe(const std::vector<DataStage>& stages) {
  std::string text;
  for (const DataStage& stage : stages) {
    text += fmt::format("{}sample {}:", text.empty() ? "" : "; ", stage.first_sample);
    for (const DataSource& source : stage.sources)
      text += fmt::format(" {} {} ({})", source.weight, source.prefix, source.identity);
    for (const SampleSkip& skip : stage.skips)
      text += fmt::format(", {} left out at {}", skip.samples, skip.first_sample);
  }
  return text.empty() ? "none" : text;
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
  if (path.schedule != saved.schedule)
    differs("the schedule of rates", describe_rates(saved.schedule, info.step),
            describe_rates(path.schedule, info.step));
  const auto read = stages_before(saved, info.samples), told = stages_before(path, info.samples);
  if (!std::ranges::equal(told, read, is_same_stage))
    differs("the data", describe(read), describe(told));
  if (!std::ranges::equal(path.lineage, saved.lineage, is_same_fork))
    differs("the origin", describe(saved.lineage), describe(path.lineage));
}

}  // namespace switchyard
