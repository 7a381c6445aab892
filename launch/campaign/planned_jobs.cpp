#include "launch/campaign/planned_jobs.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <optional>

namespace switchyard {

namespace {

using Kind = CampaignAction::Kind;

// Carries the campaign out on a copy of what is found, and notes who has to wait for whom.
class Ahead {
 public:
  Ahead(const Desired& desired, Found found, const PlannerOptions& options,
        const std::set<std::string>& queued);
  CampaignJobs plan();

 private:
  void carry_out(const CampaignAction& action);
  void fork(const CampaignAction& action);
  void extend(const CampaignAction& action);
  void add_job(const CampaignAction& action);
  void train(const CampaignAction& action, PlannedJob& job);
  void average(const CampaignAction& action, PlannedJob& job);
  void score(const CampaignAction& action, PlannedJob& job);
  void wait_for(PlannedJob& job, std::optional<size_t> earlier) const;
  std::optional<size_t> job_of(const std::string& path, int64_t step) const;
  void add_saved_steps(const std::string& path, int64_t from, int64_t to);

  const Desired& desired_;
  Found found_;
  const PlannerOptions options_;
  const std::set<std::string>& queued_;
  CampaignJobs all_;
  std::map<std::string, std::vector<size_t>> training_;  // jobs of a path, in order
  std::map<std::string, size_t> averaging_;
  std::map<std::pair<std::string, int64_t>, std::vector<size_t>> scoring_;
  std::map<std::string, std::vector<CampaignAction>> carried_;  // by the next job of a path
};

Ahead::Ahead(const Desired& desired, Found found, const PlannerOptions& options,
             const std::set<std::string>& queued)
    : desired_(desired), found_(std::move(found)), options_(options), queued_(queued) {
  for (auto& [name, path] : found_.paths) {
    const std::string own = name + "@";
    path.busy = path.busy &&
                std::ranges::none_of(queued, [&](const auto& key) { return key.starts_with(own); });
  }
}

CampaignJobs Ahead::plan() {
  for (;;) {
    const auto actions = next_actions(desired_, found_, options_);
    if (actions.empty()) return std::move(all_);
    carry_out(actions.front());
  }
}

void Ahead::carry_out(const CampaignAction& action) {
  if (action.kind == Kind::fork) return fork(action);
  if (action.kind == Kind::extend) return extend(action);
  add_job(action);
}

// The job in which a path comes to `step`; none: it has been there.
std::optional<size_t> Ahead::job_of(const std::string& path, int64_t step) const {
  const auto jobs = training_.find(path);
  if (jobs == training_.end()) return {};
  for (const size_t index : jobs->second) {
    const PlannedJob& job = all_.jobs[index];
    if (job.begins < step && step <= job.action.step) return index;
  }
  return {};
}

// The parent's job makes it, so that the fork point is pinned before anything goes on.
void Ahead::fork(const CampaignAction& action) {
  const DesiredPath& path = desired_.path(action.name);
  const auto reaching = job_of(path.parent, path.fork_step);
  if (!reaching)
    all_.now.push_back(action);
  else if (all_.jobs[*reaching].is_queued)
    carried_[action.name].push_back(action);
  else
    all_.jobs[*reaching].behind.push_back(action);
  found_.paths[action.name] = {.step = path.fork_step};
}

void Ahead::extend(const CampaignAction& action) {
  const auto jobs = training_.find(action.name);
  if (jobs == training_.end())
    all_.now.push_back(action);
  else if (all_.jobs[jobs->second.back()].is_queued)
    carried_[action.name].push_back(action);
  else
    all_.jobs[jobs->second.back()].behind.push_back(action);
  found_.paths.at(action.name).stages.insert(action.step);
}

void Ahead::wait_for(PlannedJob& job, std::optional<size_t> earlier) const {
  if (earlier && std::ranges::count(job.after, *earlier) == 0) job.after.push_back(*earlier);
}

void Ahead::add_job(const CampaignAction& action) {
  PlannedJob job{.key = job_key(action), .action = action};
  job.is_queued = queued_.contains(job.key);
  if (action.kind == Kind::train)
    train(action, job);
  else if (action.kind == Kind::average)
    average(action, job);
  else
    score(action, job);
  std::ranges::sort(job.after);
  all_.jobs.push_back(std::move(job));
}

// Averages are of steps that are saved on the way.
void Ahead::add_saved_steps(const std::string& path, int64_t from, int64_t to) {
  auto& saved = found_.paths.at(path).saved;
  saved.insert(to);
  for (const auto& mean : desired_.averages) {
    for (const auto& [member, step] : mean.members) {
      if (member == path && from < step && step <= to) saved.insert(step);
    }
  }
}

void Ahead::train(const CampaignAction& action, PlannedJob& job) {
  const DesiredPath& path = desired_.path(action.name);
  FoundPath& there = found_.paths[action.name];
  job.begins = there.step;
  auto& jobs = training_[action.name];
  if (!jobs.empty())
    wait_for(job, jobs.back());
  else if (!path.parent.empty())
    wait_for(job, job_of(path.parent, path.fork_step));
  if (options_.deletes_steps) {
    const auto scores = scoring_.find({action.name, there.step});
    if (scores != scoring_.end())
      for (const size_t each : scores->second) wait_for(job, each);
  }
  if (!job.is_queued) job.before = std::move(carried_[action.name]);
  carried_.erase(action.name);
  there.step = action.step;
  add_saved_steps(action.name, job.begins, action.step);
  jobs.push_back(all_.jobs.size());
}

void Ahead::average(const CampaignAction& action, PlannedJob& job) {
  const auto mean = std::ranges::find(desired_.averages, action.name, &DesiredAverage::name);
  for (const auto& [path, step] : mean->members) wait_for(job, job_of(path, step));
  averaging_[action.name] = all_.jobs.size();
  found_.averages.insert(action.name);
}

void Ahead::score(const CampaignAction& action, PlannedJob& job) {
  const auto score = std::ranges::find(desired_.scores, action.name, &DesiredScore::name);
  const auto made = averaging_.find(score->of);
  if (made != averaging_.end())
    wait_for(job, made->second);
  else
    wait_for(job, job_of(score->of, score->step));
  scoring_[{score->of, score->step}].push_back(all_.jobs.size());
  found_.scores.insert(action.name);
}

}  // namespace

std::string job_key(const CampaignAction& action) {
  const std::string key = key_of(action);
  return action.kind == Kind::train ? fmt::format("{}@{}", key, action.step) : key;
}

CampaignJobs plan_jobs(const Desired& desired, Found found, const PlannerOptions& options,
                       const std::set<std::string>& queued) {
  return Ahead(desired, std::move(found), options, queued).plan();
}

}  // namespace switchyard
