#include <algorithm>

#include "core/error.h"
#include "core/text.h"
#include "launch/campaign/agreement.h"
#include "launch/path/blend.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

void check_set(const std::string& place, const std::string& prefix) {
  for (const char* end : {".idx", ".bin"}) {
    std::error_code ignored;
    check(fs::exists(prefix + end, ignored), "campaign",
          "{}: '{}' is not there; the prefix of a token set, as tokenize writes it, is allowed",
          place, prefix + end);
  }
}

bool is_done(const Found& found, const DesiredPath& path) {
  const auto there = found.paths.find(path.name);
  return there != found.paths.end() && there->second.step >= path.end();
}

// Data that are read by steps which are still to be made: those that a path is made with, and those
// that it goes over to.
void check_path(const Campaign& campaign, const DesiredPath& path, const Found& found) {
  const auto there = found.paths.find(path.name);
  const int64_t step = there == found.paths.end() ? path.fork_step : there->second.step;
  const auto check_all = [&](size_t version, const std::vector<std::string>& data) {
    const std::string place = campaign.versions[version].place + ".data-path";
    for (const auto& source : parse_sources(data)) check_set(place, source.prefix);
  };
  const int64_t first_end = path.stages.empty() ? path.end() : path.stages.front().at_step;
  if (path.options.has("data-path") && step < first_end)
    check_all(path.version, path.options.list("data-path"));
  for (size_t i = 0; i < path.stages.size(); ++i) {
    const int64_t end = i + 1 < path.stages.size() ? path.stages[i + 1].at_step : path.end();
    if (step < end) check_all(path.stages[i].version, path.stages[i].data);
  }
}

// A path from a random start as `train` would make it.
void check_new(const Campaign& campaign, const DesiredPath& path) {
  try {
    new_path(path.options);
  } catch (const Error& problem) {
    fail("campaign", "{}: '{}' cannot be made: {}", campaign.file.string(), path.name,
         problem.what());
  }
}

}  // namespace

void check_possible(const Campaign& campaign, const Desired& desired, const Found& found) {
  for (const auto& path : desired.paths) {
    if (!is_done(found, path)) check_path(campaign, path, found);
  }
  for (const auto& score : desired.scores) {
    if (found.scores.contains(score.name)) continue;
    for (const auto& prefix : score.set.data)
      check_set(campaign.file.string() + ": held-out." + score.set.name, prefix);
  }
  for (const auto& path : desired.paths) {
    if (path.parent.empty() && !found.paths.contains(path.name)) check_new(campaign, path);
  }
}

}  // namespace switchyard
