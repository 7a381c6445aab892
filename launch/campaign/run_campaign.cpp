#include "launch/campaign/run_campaign.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/logging.h"
#include "core/stop_signal.h"
#include "launch/campaign/agreement.h"
#include "launch/campaign/campaign_lock.h"
#include "launch/campaign/desired_paths.h"
#include "launch/campaign/look.h"
#include "launch/campaign/perform.h"
#include "launch/campaign/run_progress.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;

// One start of a campaign.
class CampaignRun {
 public:
  CampaignRun(const fs::path& file, const ExecutorFactory& make_executor);
  ExitCode run();

 private:
  void look();
  bool take_up_changes();
  bool do_what_is_next();
  void start(const CampaignAction& action, const Job& job);
  void note(const JobEnd& end);
  void fail_with(const std::string& what, const std::string& key, ExitCode code);
  bool is_stopped_or_stop();
  bool waits_for_others();
  bool met_another(const JobEnd& end);
  bool is_lost(const JobEnd& end);
  bool leaves_jobs() const;
  ExitCode carry_out();

  fs::path file_;
  std::string text_;
  Campaign campaign_;
  Desired desired_;
  Found found_;
  std::optional<LeasedLock> lock_;
  std::unique_ptr<Executor> executor_;
  RunProgress progress_;
  std::map<std::string, Clock::time_point> started_;
  std::set<std::string> failed_, tried_again_;
  std::map<std::string, int64_t> lost_at_;  // steps, by job
  std::optional<ExitCode> failure_;
  bool stopping_ = false;
  bool waits_ = false;
};

CampaignRun::CampaignRun(const fs::path& file, const ExecutorFactory& make_executor)
    : file_(file),
      text_(read_file(file)),
      campaign_(parse_campaign(text_, file)),
      desired_(desired_of(campaign_)) {
  look();
  check_possible(campaign_, desired_, found_);
  lock_.emplace(lock_campaign(campaign_.folder));
  look();
  executor_ = make_executor(campaign_);
  for (const auto& name : executor_->running()) started_[name] = Clock::now();
}

void CampaignRun::look() { found_ = look_at(campaign_, desired_); }

// A file that cannot be carried out leaves the one before in force.
bool CampaignRun::take_up_changes() {
  std::string text;
  try {
    text = read_file(file_);
    if (text == text_) return false;
    Campaign changed = parse_campaign(text, file_);
    check(changed.folder == campaign_.folder, "campaign",
          "{}: folder is now '{}', but '{}' is being carried out; end it first", file_.string(),
          changed.folder.string(), campaign_.folder.string());
    Desired desired = desired_of(changed);
    Found found = look_at(changed, desired);
    check_possible(changed, desired, found);
    campaign_ = std::move(changed);
    desired_ = std::move(desired);
    found_ = std::move(found);
    log::info("{} has changed: {} versions, {} paths", file_.string(), campaign_.versions.size(),
              desired_.paths.size());
  } catch (const std::exception& problem) {
    if (text != text_)
      log::warning("the file has changed, but what was read before holds: {}", problem.what());
  }
  text_ = text;
  return true;
}

void CampaignRun::fail_with(const std::string& what, const std::string& key, ExitCode code) {
  log::error("{}", what);
  failed_.insert(key);
  if (!failure_) failure_ = code;
}

void CampaignRun::start(const CampaignAction& action, const Job& job) {
  executor_->start(job);
  started_[job.name] = Clock::now();
  log::info("{} ...", describe(action));
}

// Whether something was done or begun, after which the disk is to be looked at anew.
bool CampaignRun::do_what_is_next() {
  const auto running = executor_->running();
  for (const auto& action :
       next_actions(desired_, found_, planner_options(campaign_, campaign_.resources.jobs > 1))) {
    const std::string key = key_of(action);
    if (started_.contains(key) || failed_.contains(key)) continue;
    if (std::ranges::count(running, key) > 0) continue;
    lock_->check();
    try {
      if (perform_now(campaign_, desired_, action)) return true;
      const Job job = job_of(campaign_, desired_, found_, action);
      if (executor_->has_room(job.ranks)) start(action, job);
    } catch (const std::exception& problem) {
      fail_with(fmt::format("{}: {}", describe(action), problem.what()), key, code_of(problem));
    }
  }
  return false;
}

// The jobs of a campaign that was killed save and end by themselves, and may take up a path's lock
// when this one has just looked. Such a start ends at once, as one of wrong use: it is tried again.
bool CampaignRun::met_another(const JobEnd& end) {
  if (end.code != static_cast<int>(ExitCode::usage)) return false;
  if (desired_.find_path(end.name) == nullptr) return false;
  look();
  const auto path = found_.paths.find(end.name);
  const bool is_busy = path != found_.paths.end() && path->second.busy;
  return is_busy || tried_again_.insert(end.name).second;
}

// In a cluster ranks and nodes go at any time. A job that lost one is begun again as long as it
// brings its path further, else once.
bool CampaignRun::is_lost(const JobEnd& end) {
  const auto code = static_cast<ExitCode>(end.code);
  const bool lost = code == ExitCode::lost_peer || code == ExitCode::timed_out;
  if (campaign_.resources.executor != "slurm" || !lost) return false;
  look();
  const auto path = found_.paths.find(end.name);
  const int64_t step = path == found_.paths.end() ? 0 : path->second.step;
  const auto [last, is_first] = lost_at_.try_emplace(end.name, step);
  return is_first || std::exchange(last->second, step) < step;
}

void CampaignRun::note(const JobEnd& end) {
  const auto begin = started_.extract(end.name);
  const double seconds =
      begin.empty() ? 0 : std::chrono::duration<double>(Clock::now() - begin.mapped()).count();
  const auto stopped = static_cast<int>(ExitCode::stopped);
  if (end.code == 0) {
    log::info("{}: done in {:.1f} s", end.name, seconds);
  } else if (end.code == stopped || (stopping_ && end.code == 130)) {
    log::info("{}: stopped after {:.1f} s", end.name, seconds);
    stopping_ = true;  // somebody has told the job itself
  } else if (is_lost(end)) {
    log::info("{}: lost (code {}); goes on from what it has saved", end.name, end.code);
  } else if (met_another(end)) {
    log::info("{}: another process was at work on it; once more", end.name);
  } else {
    fail_with(fmt::format("{}: ended with code {} after {:.1f} s; see {}", end.name, end.code,
                          seconds, (campaign_.folder / "logs" / (end.name + ".log")).string()),
              end.name, static_cast<ExitCode>(end.code));
  }
}

bool CampaignRun::is_stopped_or_stop() {
  if (StopSignal::requested() && !stopping_) {
    log::info("stopping: {} jobs save and end", executor_->running().size());
    executor_->stop();
    stopping_ = true;
  }
  return stopping_;
}

// Whether a path is held by a process that is none of this campaign's jobs.
bool CampaignRun::waits_for_others() {
  const auto other = std::ranges::find_if(found_.paths, [&](const auto& each) {
    return each.second.busy && !started_.contains(each.first);
  });
  const bool waits = other != found_.paths.end();
  if (waits && !waits_) log::info("{} is held by another process; waiting for it", other->first);
  waits_ = waits;
  return waits;
}

// Whoever has taken the campaign over has taken its jobs in Slurm's queue, too.
bool CampaignRun::leaves_jobs() const {
  try {
    return campaign_.resources.executor == "slurm" && !lock_->is_own();
  } catch (const Error&) {  // nobody knows
    return false;
  }
}

ExitCode CampaignRun::run() {
  try {
    return carry_out();
  } catch (const std::exception&) {  // jobs lose nothing by it
    if (leaves_jobs()) throw;
    executor_->stop();
    while (!executor_->running().empty()) executor_->ended(std::chrono::seconds(1));
    throw;
  }
}

ExitCode CampaignRun::carry_out() {
  for (;;) {
    if (!is_stopped_or_stop()) {
      take_up_changes();
      while (do_what_is_next()) look();
    }
    const bool waits = waits_for_others();
    if (started_.empty() && (stopping_ || !waits)) break;
    progress_.show(campaign_, desired_, found_, executor_->running());
    const auto ends = executor_->ended(std::chrono::milliseconds(waits ? 1000 : 2000));
    progress_.clear();
    for (const auto& end : ends) note(end);
    if (!ends.empty() || waits) look();
  }
  if (failure_) return *failure_;
  if (stopping_) return ExitCode::stopped;
  check(is_complete(desired_, found_), ExitCode::other, "campaign",
        "nothing more can be done, but not all is: see 'switchyard campaign status {}'",
        file_.string());
  log::info("all is done: {}", campaign_.folder.string());
  return ExitCode::reached;
}

}  // namespace

ExitCode run_campaign(const fs::path& file, const ExecutorFactory& make_executor) {
  const StopSignal signals;
  return CampaignRun(file, make_executor).run();
}

}  // namespace switchyard
