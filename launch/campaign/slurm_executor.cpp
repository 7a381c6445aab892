#include "launch/campaign/slurm_executor.h"

#include <algorithm>
#include <map>
#include <thread>

#include "core/error.h"
#include "core/files.h"
#include "core/logging.h"
#include "core/stop_signal.h"
#include "launch/campaign/slurm_queue.h"
#include "launch/campaign/slurm_script.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds shortest_pause(1'000), longest_pause(15'000);

// A path's jobs of one campaign, whatever step they lead to, are one to the planner.
std::string without_step(const std::string& name) { return name.substr(0, name.rfind('@')); }

class SlurmExecutor final : public Executor {
 public:
  explicit SlurmExecutor(const Campaign& campaign);

  bool has_room(int64_t ranks) const override;
  void start(const Job& job) override;
  std::vector<JobEnd> ended(milliseconds patience) override;
  std::vector<std::string> running() const override;
  void stop() override;
  void kill() override;

 private:
  std::vector<JobEnd> look();

  const Campaign campaign_;
  const SlurmQueue queue_;
  std::map<std::string, std::string> running_;  // names by id
  bool is_silent_ = false;
  bool is_stopped_ = false;
  milliseconds pause_ = shortest_pause;  // between two looks at the queue
};

SlurmExecutor::SlurmExecutor(const Campaign& campaign)
    : campaign_(campaign), queue_(campaign.folder) {
  const auto there = queue_.jobs();
  check(there.has_value(), "slurm", "squeue does not answer; is this a machine of the cluster?");
  for (const auto& job : *there) running_[job.id] = without_step(job.name);
  if (!running_.empty()) log::info("{} jobs of this campaign are in the queue", running_.size());
}

bool SlurmExecutor::has_room(int64_t) const {
  return std::ssize(running_) < campaign_.resources.jobs;
}

void SlurmExecutor::start(const Job& job) {
  const fs::path script = campaign_.folder / "slurm" / (job.name + ".sbatch");
  make_folder(script.parent_path());
  make_folder((campaign_.folder / "logs" / job.name).parent_path());
  write_file_atomically(
      script, slurm_script(campaign_, job.name, queue_.comment(), {SlurmTask{.job = job}}));
  const std::string id = queue_.submit(script, {}, {});
  running_[id] = job.name;
  log::info("Slurm job {}: {}", id, job.name);
}

// What is in the queue no more has ended; what is unknown to Slurm counts as lost, and the disk
// tells how far it came.
std::vector<JobEnd> SlurmExecutor::look() {
  const auto there = queue_.jobs();
  if (!there && !is_silent_) log::warning("squeue does not answer; what was queued stays queued");
  is_silent_ = !there;
  std::vector<JobEnd> ends;
  if (!there) return ends;
  std::erase_if(running_, [&](const auto& each) {
    if (std::ranges::count(*there, each.first, &QueuedJob::id) > 0) return false;
    const auto code = queue_.code_of(each.first);
    ends.push_back({each.second, code.value_or(static_cast<int>(ExitCode::lost_peer))});
    return true;
  });
  return ends;
}

// Slurm's controller serves many: the longer nothing happens, the more rarely it is asked.
std::vector<JobEnd> SlurmExecutor::ended(milliseconds patience) {
  constexpr milliseconds turn(100);
  const auto until = Clock::now() + std::max(patience, pause_);
  while (Clock::now() < until && (is_stopped_ || !StopSignal::requested()))
    std::this_thread::sleep_for(turn);
  if (running_.empty() || Clock::now() < until) return {};
  auto ends = look();
  pause_ = ends.empty() ? std::min(pause_ * 3 / 2, longest_pause) : shortest_pause;
  return ends;
}

std::vector<std::string> SlurmExecutor::running() const {
  std::vector<std::string> names;
  for (const auto& [id, name] : running_) names.push_back(name);
  return names;
}

void SlurmExecutor::stop() {
  is_stopped_ = true;
  pause_ = shortest_pause;
  const auto there = queue_.jobs();
  for (const auto& job : there.value_or(std::vector<QueuedJob>())) queue_.stop(job);
}

void SlurmExecutor::kill() {
  for (const auto& [id, name] : running_) queue_.cancel(id);
}

}  // namespace

std::unique_ptr<Executor> make_slurm_executor(const Campaign& campaign) {
  return std::make_unique<SlurmExecutor>(campaign);
}

}  // namespace switchyard
