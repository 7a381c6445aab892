#include "launch/path/replay_plan.h"

#include <algorithm>

#include "core/error.h"
#include "core/logging.h"
#include "launch/path/fork_point.h"
#include "launch/path/path_state.h"
#include "launch/path/relative_name.h"
#include "launch/path/starts.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

using Damaged = std::set<fs::path>;

// Whether a step can follow it, as far as its master says.
bool is_usable(const CheckpointEntry& entry, const Damaged& damaged) {
  if (!entry.complete || damaged.contains(entry.folder)) return false;
  try {
    return has_moments(entry);
  } catch (const Error& problem) {
    log::warning("{}; an earlier one is taken", problem.what());
    return false;
  }
}

// The newest such checkpoint that is not behind `step`.
std::optional<CheckpointEntry> newest_whole(const RunFolder& run, int64_t step,
                                            const Damaged& damaged) {
  auto entries = list_checkpoints(run.checkpoints());
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    if (entry->step <= step && is_usable(*entry, damaged)) return *entry;
  }
  return std::nullopt;
}

// The saved fork point of a path; nothing where it was not saved, or is not there any more.
std::optional<ForkPoint> saved_fork_point(const RunFolder& run, const LineageEntry& fork,
                                          const Damaged& damaged) {
  if (fork.replayed) return std::nullopt;
  try {
    auto point = find_fork_point(run, fork);
    if (fork.average || fork.imported || is_usable(point.entry, damaged)) return point;
  } catch (const Error&) {  // it is looked for further back
  }
  return std::nullopt;
}

bool is_prefix(const std::vector<LineageEntry>& parent, const std::vector<LineageEntry>& child) {
  return parent.size() + 1 == child.size() &&
         std::equal(parent.begin(), parent.end(), child.begin(),
                    [](const LineageEntry& a, const LineageEntry& b) {
                      return a.step == b.step && a.samples == b.samples &&
                             a.checkpoint == b.checkpoint;
                    });
}

// The folder of the path that `run` was forked from.
RunFolder parent_of(const RunFolder& run, const PathSpecification& path) {
  const LineageEntry& fork = path.lineage.back();
  const fs::path place = place_of({fork.path, fork.path_as_given}, run.folder());
  RunFolder parent(place);
  check(parent.exists(), "replay",
        "no checkpoint of '{}' is left before the step, and its parent '{}' is not there",
        run.folder().string(), place.string());
  const auto before = parent.read();
  check(before.kind == "path" && is_prefix(before.lineage, path.lineage), "replay",
        "no checkpoint of '{}' is left before the step, and '{}' is not the path that it was "
        "forked from at step {}",
        run.folder().string(), place.string(), fork.step);
  return parent;
}

void check_not_of_weights(const RunFolder& run, const PathSpecification& path) {
  if (!path.begins_with_weights()) return;
  const LineageEntry& first = path.lineage.back();
  fail("replay", "'{}' begins with published weights, step {} of '{}', which is not there",
       run.folder().string(), first.saved_step(),
       place_as_named({first.path, first.path_as_given}, run.folder()).string());
}

void add_records(ReplayPlan& plan, const RunFolder& run, int64_t after, int64_t last) {
  if (last <= after) return;
  const auto records = read_step_records(run.folder());
  const auto conditions = recorded_conditions(run.folder());
  for (auto it = records.upper_bound(after); it != records.end() && it->first <= last; ++it) {
    const auto found = conditions.find(it->second.start);
    plan.steps[it->first] = {it->second, found == conditions.end() ? "" : found->second};
  }
}

}  // namespace

int64_t ReplayPlan::last_exact(const std::string& conditions) const {
  int64_t last = begin();
  for (auto it = steps.begin(); it != steps.end() && it->first == last + 1; ++it) {
    if (it->second.conditions != conditions) break;
    last = it->first;
  }
  return last;
}

ReplayPlan plan_replay(const RunFolder& run, int64_t begin, int64_t end, const Damaged& damaged) {
  ReplayPlan plan;
  std::vector<RunFolder> runs;
  for (RunFolder at = run; !plan.origin_run;) {
    const auto path = at.read();
    plan.segments.insert(plan.segments.begin(), {at.folder().string(), path, end});
    runs.insert(runs.begin(), at);
    if (const auto own = newest_whole(at, begin, damaged)) {
      plan.origin_run = at;
      plan.origin = *own;
    } else if (path.has_random_start()) {
      break;
    } else if (const auto point = saved_fork_point(at, path.lineage.back(), damaged)) {
      plan.origin_run = point->parent;
      plan.origin = point->entry;
      plan.from_weights = path.begins_with_weights();
    } else {
      check_not_of_weights(at, path);
      begin = end = path.start_step();
      at = parent_of(at, path);
    }
  }
  int64_t after = plan.begin();
  for (size_t i = 0; i < runs.size(); ++i) {
    add_records(plan, runs[i], after, plan.segments[i].last);
    after = std::max(after, plan.segments[i].last);
  }
  // Nothing is made of a path whose fork point is the origin itself.
  while (plan.segments.size() > 1 && plan.segments.front().last <= plan.begin()) {
    plan.segments.erase(plan.segments.begin());
  }
  return plan;
}

void check_recorded(const ReplayPlan& plan, int64_t first, int64_t last, const char* where) {
  for (int64_t step = first; step <= last; ++step) {
    if (plan.steps.contains(step)) continue;
    const auto segment =
        std::ranges::find_if(plan.segments, [&](const ReplaySegment& s) { return step <= s.last; });
    const auto& run = (segment == plan.segments.end() ? plan.segments.back() : *segment).run;
    const auto records = read_step_records(run);
    fail(where, "step {} has no line in {}; its steps are {} to {}", step,
         (fs::path(run) / "metrics.jsonl").string(), records.empty() ? 0 : records.begin()->first,
         records.empty() ? 0 : records.rbegin()->first);
  }
}

}  // namespace switchyard
