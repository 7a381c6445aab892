#include "launch/report/page_json.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/text.h"
#include "launch/report/path_head.h"
#include "launch/report/series_json.h"
#include "launch/report/version_json.h"

namespace switchyard {

namespace {

Json start_json(const ReportedStart& start, const StepLog& log) {
  Json one = {{"number", start.number},  {"time", start.time},     {"step", start.step},
              {"ranks", start.ranks},    {"layout", start.layout}, {"device", start.device},
              {"version", start.version}};
  int64_t made = 0;
  double milliseconds = 0;
  for (const auto& step : log.steps) {
    if (step.start != start.number) continue;
    if (made++ == 0) one["first"] = step.step;
    one["last"] = step.step;
    if (step.milliseconds > 0) milliseconds += step.milliseconds;
  }
  one["steps"] = made;
  const auto given_up = std::ranges::find(log.given_up, start.number, &GivenUp::start);
  if (given_up != log.given_up.end()) {
    one["given_up"] = {given_up->steps, given_up->first, given_up->last};
    milliseconds += given_up->milliseconds;
  }
  one["seconds"] = shown_number(milliseconds / 1e3);
  return one;
}

int64_t parent_place(const ReportInput& input, const ReportPath& path) {
  const auto found = std::ranges::find(input.paths, path.parent, &ReportPath::name);
  return path.parent.empty() || found == input.paths.end() ? -1 : found - input.paths.begin();
}

Json path_json(const ReportInput& input, const ReportPath& path, PathHead head,
               const Resolution& resolution) {
  StepLog log;
  try {
    if (path.is_there && head.problem.empty()) log = read_step_log(path.folder);
  } catch (const std::exception& problem) {
    head = damaged_head(problem);
  }
  Json one = {{"name", path.name},
              {"folder", path.folder.string()},
              {"kind", head.kind},
              {"state", head.state},
              {"parent", parent_place(input, path)},
              {"origin", path.parent},
              {"fork", path.fork_step},
              {"step", head.step},
              {"end", std::max(head.end, head.step)},
              {"loss", head.loss ? shown_number(*head.loss) : Json()}};
  if (!head.problem.empty()) one["problem"] = head.problem;
  if (!head.members.empty()) one["members"] = head.members;
  if (!head.others.empty()) one["others"] = head.others;
  if (!head.imported.empty()) one["imported"] = head.imported;
  add_series(log, resolution, one);
  if (head.schedule) add_planned_rates(*head.schedule, head.step, head.end, one);
  one["starts"] = Json::array();
  for (const auto& start : head.starts) one["starts"].push_back(start_json(start, log));
  return one;
}

// All paths together have some 60,000 points, the longest one a hundred means.
Resolution resolution_of(const ReportInput& input, const std::vector<PathHead>& heads) {
  int64_t longest = 0;
  for (size_t i = 0; i < heads.size(); ++i) {
    if (heads[i].kind == "path") {
      longest = std::max(longest, heads[i].step - input.paths[i].fork_step);
    }
  }
  return {.buckets = std::clamp<size_t>(15000 / std::max<size_t>(1, heads.size()), 40, 600),
          .window = static_cast<size_t>(longest + 99) / 100};
}

}  // namespace

Json page_json(const ReportInput& input) {
  std::vector<PathHead> heads;
  for (const auto& path : input.paths) heads.push_back(read_head(path));
  const Resolution resolution = resolution_of(input, heads);
  Json page = {{"title", input.title},
               {"made", now_in_utc("%Y-%m-%d %H:%M UTC")},
               {"version", SWITCHYARD_VERSION},
               {"paths", Json::array()}};
  for (size_t i = 0; i < heads.size(); ++i) {
    page["paths"].push_back(path_json(input, input.paths[i], heads[i], resolution));
  }
  if (!input.versions.empty()) page["versions"] = version_json(input.versions);
  return page;
}

}  // namespace switchyard
