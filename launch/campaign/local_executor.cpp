#include "launch/campaign/local_executor.h"

#include <fmt/ranges.h>
#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <set>

#include "core/error.h"
#include "core/files.h"
#include "launch/campaign/news_wait.h"
#include "launch/campaign/program_launcher.h"
#include "launch/campaign/running_job.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

class LocalExecutor final : public Executor {
 public:
  explicit LocalExecutor(const LocalResources& resources);
  ~LocalExecutor() override;

  bool has_room(int64_t ranks) const override;
  void start(const Job& job) override;
  std::vector<JobEnd> ended(milliseconds patience) override;
  std::vector<std::string> running() const override;
  void stop() override;
  void kill() override;

 private:
  void check_job(const Job& job) const;
  std::vector<std::string> free_gpus() const;
  std::map<std::string, std::string> environment_of(const Job& job,
                                                    const std::vector<std::string>& gpus) const;
  void end_late_ones();
  std::vector<JobEnd> collect();

  LocalResources resources_;
  ProgramLauncher launcher_;
  std::vector<std::unique_ptr<RunningJob>> running_;
  std::optional<Clock::time_point> last_moment_;  // of those that were killed
  NewsWait news_;
};

LocalExecutor::LocalExecutor(const LocalResources& resources)
    : resources_(resources),
      launcher_(resources.program.empty() ? this_program() : resources.program, resources.launcher,
                !resources.gpus.empty()) {
  check(resources.jobs >= 1 && resources.ranks >= 1, "job",
        "{} jobs and {} ranks; at least 1 of each is allowed", resources.jobs, resources.ranks);
  const std::set<std::string> different(resources.gpus.begin(), resources.gpus.end());
  check(different.size() == resources.gpus.size(), "job", "a GPU is twice among {}",
        fmt::join(resources.gpus, ","));
  make_folder(resources.logs);
}

LocalExecutor::~LocalExecutor() {
  kill();
  while (!running_.empty()) ended(milliseconds(100));
}

std::vector<std::string> LocalExecutor::free_gpus() const {
  std::vector<std::string> free = resources_.gpus;
  for (const auto& each : running_)
    for (const auto& taken : each->gpus()) std::erase(free, taken);
  return free;
}

bool LocalExecutor::has_room(int64_t ranks) const {
  int64_t all = ranks;
  for (const auto& each : running_) all += each->job().ranks;
  const bool has_gpus =
      resources_.gpus.empty() || ranks <= static_cast<int64_t>(free_gpus().size());
  return static_cast<int64_t>(running_.size()) < resources_.jobs && all <= resources_.ranks &&
         has_gpus;
}

void LocalExecutor::check_job(const Job& job) const {
  const auto gpus = static_cast<int64_t>(resources_.gpus.size());
  check(job.ranks >= 1 && job.ranks <= resources_.ranks, "job",
        "{} takes {} ranks; 1 to {} are allowed", job.name, job.ranks, resources_.ranks);
  check(gpus == 0 || job.ranks <= gpus, "job", "{} takes {} ranks, a GPU each; there are {} GPUs",
        job.name, job.ranks, gpus);
  const fs::path name = fs::path(job.name).lexically_normal();
  check(name.has_filename() && name.is_relative() && *name.begin() != "..", "job",
        "'{}' names a job; what can be a file in the folder of logs is allowed", job.name);
  for (const auto& each : running_)
    check(each->job().name != job.name, "job", "{} runs already; a job once at a time is allowed",
          job.name);
  check(has_room(job.ranks), "job", "{} takes {} ranks, but {} jobs run on the {} there are",
        job.name, job.ranks, running_.size(), resources_.ranks);
}

// How many threads a rank has never depends on what runs beside it, as bits do on them.
std::map<std::string, std::string> LocalExecutor::environment_of(
    const Job& job, const std::vector<std::string>& gpus) const {
  std::map<std::string, std::string> given;
  if (std::getenv("OMP_NUM_THREADS") == nullptr) {
    const int64_t cores = omp_get_num_procs();
    const int64_t all_alone = std::min(resources_.jobs, resources_.ranks);
    const bool by_mpirun = job.ranks > 1 && !launcher_.launches_without_mpi();
    const int64_t shares = by_mpirun ? cores : job.ranks > 1 ? resources_.ranks : all_alone;
    given["OMP_NUM_THREADS"] = std::to_string(std::max<int64_t>(1, cores / shares));
  }
  if (!gpus.empty()) given["CUDA_VISIBLE_DEVICES"] = fmt::format("{}", fmt::join(gpus, ","));
  return given;
}

void LocalExecutor::start(const Job& job) {
  check_job(job);
  const fs::path log = resources_.logs / (job.name + ".log");
  make_folder(log.parent_path());
  std::vector<std::string> gpus = free_gpus();
  if (!gpus.empty()) gpus.resize(static_cast<size_t>(job.ranks));
  JobStart begin{.words = launcher_.command(job.arguments, job.ranks),
                 .environment = environment_of(job, gpus),
                 .gpus = gpus,
                 .ending_signal = launcher_.ending_signal(job.ranks)};
  running_.push_back(std::make_unique<RunningJob>(job, std::move(begin), log));
}

std::vector<std::string> LocalExecutor::running() const {
  std::vector<std::string> names;
  for (const auto& each : running_) names.push_back(each->job().name);
  return names;
}

void LocalExecutor::stop() {
  for (const auto& each : running_) each->ask_to_stop();
}

void LocalExecutor::kill() {
  constexpr auto time_to_tidy_up = std::chrono::seconds(5);
  for (const auto& each : running_) each->end();
  if (!last_moment_) last_moment_ = Clock::now() + time_to_tidy_up;
}

void LocalExecutor::end_late_ones() {
  if (!last_moment_ || Clock::now() < *last_moment_) return;
  for (const auto& each : running_) each->end_late();
  last_moment_.reset();
}

std::vector<JobEnd> LocalExecutor::collect() {
  std::vector<JobEnd> ends;
  std::erase_if(running_, [&](const auto& each) {
    const auto code = each->ended();
    if (!code) return false;
    ends.push_back({each->job().name, *code});
    return true;
  });
  return ends;
}

std::vector<JobEnd> LocalExecutor::ended(milliseconds patience) {
  const auto until = Clock::now() + patience;
  for (bool waits = true;;) {
    end_late_ones();
    auto ends = collect();
    if (!ends.empty() || !waits || Clock::now() >= until) return ends;
    std::vector<int> descriptors;
    for (const auto& each : running_) descriptors.push_back(each->descriptor());
    waits = news_.wait(descriptors, last_moment_ ? std::min(until, *last_moment_) : until);
  }
}

}  // namespace

std::unique_ptr<Executor> make_local_executor(const LocalResources& resources) {
  return std::make_unique<LocalExecutor>(resources);
}

}  // namespace switchyard
