#include "launch/campaign/submit_campaign.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/logging.h"
#include "launch/campaign/agreement.h"
#include "launch/campaign/campaign_lock.h"
#include "launch/campaign/desired_paths.h"
#include "launch/campaign/look.h"
#include "launch/campaign/perform.h"
#include "launch/campaign/slurm_queue.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

// "seed-7/main@400" is "main@400" of another seed.
std::string without_seed(const std::string& key) {
  const std::string score = "score/";
  const bool is_score = key.starts_with(score);
  std::string rest = is_score ? key.substr(score.size()) : key;
  if (rest.starts_with("seed-")) rest.erase(0, rest.find('/') + 1);
  return is_score ? score + rest : rest;
}

}  // namespace

namespace {

class Grouping {
 public:
  Grouping(const Campaign& campaign, const std::vector<PlannedJob>& jobs);
  std::vector<JobGroup> groups();

 private:
  bool is_array(size_t job) const { return alike(job).size() > 1; }
  const std::vector<size_t>& alike(size_t job) const;
  void add(size_t job);

  const std::vector<PlannedJob>& jobs_;
  std::vector<std::vector<size_t>> alike_;  // each job's equals, itself among them
  std::vector<std::optional<size_t>> group_of_;
  std::vector<JobGroup> groups_;
};

// Jobs are alike when they are the same of all seeds.
Grouping::Grouping(const Campaign& campaign, const std::vector<PlannedJob>& jobs)
    : jobs_(jobs), alike_(jobs.size()), group_of_(jobs.size()) {
  std::map<std::string, std::vector<size_t>> by_name;
  for (size_t i = 0; i < jobs.size(); ++i)
    if (!jobs[i].is_queued) by_name[without_seed(jobs[i].key)].push_back(i);
  for (size_t i = 0; i < jobs.size(); ++i) {
    const auto same = by_name.find(without_seed(jobs[i].key));
    const bool whole = same != by_name.end() && same->second.size() == campaign.seeds.size();
    alike_[i] = whole && !jobs[i].is_queued ? same->second : std::vector<size_t>{i};
  }
}

const std::vector<size_t>& Grouping::alike(size_t job) const { return alike_[job]; }

void Grouping::add(size_t job) {
  if (group_of_[job]) return;
  for (const size_t each : alike(job))
    for (const size_t earlier : jobs_[each].after) add(earlier);
  std::set<size_t> after, task_after;
  for (const size_t each : alike(job)) {
    for (const size_t earlier : jobs_[each].after) {
      const bool by_task = is_array(job) && is_array(earlier);
      (by_task ? task_after : after).insert(*group_of_[earlier]);
    }
  }
  for (const size_t each : alike(job)) group_of_[each] = groups_.size();
  groups_.push_back({.name = is_array(job) ? without_seed(jobs_[job].key) : jobs_[job].key,
                     .jobs = alike(job),
                     .after = {after.begin(), after.end()},
                     .task_after = {task_after.begin(), task_after.end()}});
}

std::vector<JobGroup> Grouping::groups() {
  for (size_t i = 0; i < jobs_.size(); ++i) add(i);
  return std::move(groups_);
}

}  // namespace

std::vector<JobGroup> group_jobs(const Campaign& campaign, const std::vector<PlannedJob>& jobs) {
  return Grouping(campaign, jobs).groups();
}

SlurmTask task_of(const Campaign& campaign, const Desired& desired, const Found& found,
                  const PlannedJob& job) {
  Found ahead = found;
  if (job.action.kind == CampaignAction::Kind::train) {
    const DesiredPath& path = desired.path(job.action.name);
    const bool is_made = job.begins > 0 || !path.parent.empty() || !path.weights.empty();
    if (is_made) ahead.paths.try_emplace(path.name);  // by then
  }
  SlurmTask task{.job = job_of(campaign, desired, ahead, job.action)};
  for (const auto& each : job.before) task.before.push_back(command_of(campaign, desired, each));
  for (const auto& each : job.behind) task.behind.push_back(command_of(campaign, desired, each));
  return task;
}

namespace {

// One submission.
class Submission {
 public:
  Submission(const fs::path& file, const LeasedLock* lock);
  void run();

 private:
  void check_held() const;
  void check_order() const;
  void queue(const JobGroup& group);
  std::vector<std::string> ids_of(const std::vector<size_t>& groups) const;

  const Campaign campaign_;
  const Desired desired_;
  const LeasedLock* const lock_;  // none: a dry run
  const bool dry_run_ = lock_ == nullptr;
  const SlurmQueue queue_;
  Found found_;
  std::map<std::string, std::string> queued_;  // ids by key
  CampaignJobs plan_;
  std::vector<JobGroup> groups_;
  std::vector<std::string> ids_;  // of the groups
};

Submission::Submission(const fs::path& file, const LeasedLock* lock)
    : campaign_(read_campaign(file)),
      desired_(desired_of(campaign_)),
      lock_(lock),
      queue_(campaign_.folder),
      found_(look_at(campaign_, desired_)) {
  check(campaign_.resources.executor == "slurm", "campaign",
        "{}: submit needs [executor] kind = \"slurm\"; 'campaign run' carries it out here",
        file.string());
  check_possible(campaign_, desired_, found_);
  const auto there = queue_.jobs();
  check(there.has_value() || dry_run_, "slurm",
        "squeue does not answer; is this a machine of the cluster?");
  for (const auto& job : there.value_or(std::vector<QueuedJob>())) queued_[job.name] = job.id;
}

void Submission::check_held() const {
  for (const auto& each : found_.paths) {
    const std::string own = each.first + "@";
    const bool is_ours =
        std::ranges::any_of(queued_, [&](const auto& job) { return job.first.starts_with(own); });
    check(!each.second.busy || is_ours, "campaign",
          "{} is held by a process that is no job of this campaign; wait for its end", each.first);
  }
}

// A job in the queue passes what has been put before it since.
void Submission::check_order() const {
  for (const auto& job : plan_.jobs) {
    if (!job.is_queued) continue;
    for (const size_t earlier : job.after) {
      check(plan_.jobs[earlier].is_queued, "campaign",
            "{} is in the queue (job {}), but the file now wants {} before it: scancel {}, or wait "
            "for its end",
            job.key, queued_.at(job.key), plan_.jobs[earlier].key, queued_.at(job.key));
    }
  }
}

std::vector<std::string> Submission::ids_of(const std::vector<size_t>& groups) const {
  std::vector<std::string> ids;
  ids.reserve(groups.size());
  for (const size_t group : groups) ids.push_back(ids_[group]);
  return ids;
}

void Submission::queue(const JobGroup& group) {
  const PlannedJob& first = plan_.jobs[group.jobs.front()];
  if (first.is_queued) {
    ids_.push_back(queued_.at(first.key));
    log::info("{}: in the queue as job {}", first.key, ids_.back());
    return;
  }
  std::vector<SlurmTask> tasks;
  std::vector<std::string> keys;
  for (const size_t job : group.jobs) {
    tasks.push_back(task_of(campaign_, desired_, found_, plan_.jobs[job]));
    if (group.jobs.size() > 1) keys.push_back(plan_.jobs[job].key);
  }
  const fs::path script = campaign_.folder / "slurm" / (group.name + ".sbatch");
  const auto text = slurm_script(campaign_, group.name, queue_.comment(keys), tasks);
  std::vector<std::string> after = ids_of(group.after), task_after = ids_of(group.task_after);
  if (dry_run_) {
    ids_.push_back(group.name);
  } else {
    lock_->check();
    make_folder(script.parent_path());
    for (const auto& task : tasks)
      make_folder((campaign_.folder / "logs" / task.job.name).parent_path());
    write_file_atomically(script, text);
    ids_.push_back(queue_.submit(script, after, task_after));
  }
  after.insert(after.end(), task_after.begin(), task_after.end());
  const std::string tasks_text =
      tasks.size() > 1 ? fmt::format(", {} tasks", tasks.size()) : std::string();
  log::info("{}{}: {}{}", group.name, tasks_text,
            dry_run_ ? std::string("would be queued") : fmt::format("job {}", ids_.back()),
            after.empty() ? "" : fmt::format(" after {}", fmt::join(after, ", ")));
}

void Submission::run() {
  check_held();
  std::set<std::string> keys;
  for (const auto& [key, id] : queued_) keys.insert(key);
  plan_ = plan_jobs(desired_, found_, planner_options(campaign_, true), keys);
  check_order();
  for (const auto& action : plan_.now) {
    log::info("{}", describe(action));
    if (dry_run_) continue;
    lock_->check();
    perform_now(campaign_, desired_, action);
  }
  groups_ = group_jobs(campaign_, plan_.jobs);
  for (const auto& group : groups_) queue(group);
  if (plan_.jobs.empty()) log::info("nothing is left to do: {}", campaign_.folder.string());
}

}  // namespace

void submit_campaign(const fs::path& file, bool dry_run) {
  std::optional<LeasedLock> lock;
  if (!dry_run) lock.emplace(lock_campaign(read_campaign(file).folder));
  Submission(file, lock ? &*lock : nullptr).run();
}

}  // namespace switchyard
