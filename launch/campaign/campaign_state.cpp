#include "launch/campaign/campaign_state.h"

#include <algorithm>
#include <fstream>

#include "core/json.h"
#include "launch/path/path_state.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

// The median of the latest steps, in seconds; 0: none is logged.
double pace_of(const fs::path& run) {
  constexpr std::streamoff tail = 1 << 14;
  std::ifstream stream(run / "metrics.jsonl", std::ios::binary);
  stream.seekg(0, std::ios::end);
  const std::streamoff size = stream.tellg();
  if (!stream || size <= 0) return 0;
  stream.seekg(std::max<std::streamoff>(0, size - tail));
  std::vector<double> steps;
  for (std::string line; std::getline(stream, line);) {
    const auto parsed = parse_json_or_discard(line);
    if (parsed.is_object() && parsed.contains("milliseconds"))
      steps.push_back(parsed["milliseconds"].get<double>() / 1000);
  }
  if (steps.empty()) return 0;
  const auto middle = steps.begin() + static_cast<ptrdiff_t>(steps.size() / 2);
  std::ranges::nth_element(steps, middle);
  return *middle;
}

CampaignRow row_of(const Campaign& campaign, const DesiredPath& path, const Found& found) {
  CampaignRow row{.name = path.name, .state = "waiting", .step = path.fork_step};
  row.first = path.fork_step;
  row.last = path.end();
  if (!path.weights.empty()) row.begins = fs::path(path.weights).filename();
  if (!path.parent.empty()) row.begins = fmt::format("{}@{}", path.parent, path.fork_step);
  const auto there = found.paths.find(path.name);
  if (there == found.paths.end()) return row;
  const RunFolder run(folder_of(campaign, path.name));
  const auto logged = last_logged_step(run);
  row.step = std::max({path.fork_step, there->second.step, logged.value_or(0)});
  row.notes = there->second.notes;
  row.seconds_left =
      pace_of(run.folder()) * static_cast<double>(std::max<int64_t>(0, row.last - row.step));
  if (there->second.busy)
    row.state = "running";
  else if (there->second.step >= path.end())
    row.state = "finished";
  else if (logged || !there->second.saved.empty())
    row.state = "stopped";
  return row;
}

// Behind each path those that begin at it.
void append(const Campaign& campaign, const Desired& desired, const Found& found,
            const std::string& parent, int depth, std::vector<CampaignRow>& rows) {
  for (const auto& path : desired.paths) {
    if (path.parent != parent) continue;
    rows.push_back(row_of(campaign, path, found));
    rows.back().depth = depth;
    append(campaign, desired, found, path.name, depth + 1, rows);
  }
}

}  // namespace

std::vector<CampaignRow> campaign_state(const Campaign& campaign, const Desired& desired,
                                        const Found& found) {
  std::vector<CampaignRow> rows;
  append(campaign, desired, found, "", 0, rows);
  double pace = 0;  // of a path that has none of its own: another's
  for (const auto& row : rows) {
    if (row.seconds_left > 0)
      pace = row.seconds_left / static_cast<double>(row.last - row.step);
    else if (pace == 0)
      pace = pace_of(folder_of(campaign, row.name));
  }
  for (auto& row : rows) {
    if (row.seconds_left == 0 && row.step < row.last)
      row.seconds_left = pace * static_cast<double>(row.last - row.step);
  }
  for (const auto& mean : desired.averages) {
    CampaignRow row{.name = mean.name, .begins = fmt::format("mean of {}", mean.members.size())};
    row.state = found.averages.contains(mean.name) ? "finished" : "waiting";
    row.last = row.first = mean.members.back().second;
    row.step = row.last;
    rows.push_back(row);
  }
  return rows;
}

}  // namespace switchyard
