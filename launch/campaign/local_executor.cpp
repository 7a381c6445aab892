#include "launch/campaign/local_executor.h"

#include <fmt/ranges.h>
#include <omp.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>

#include "core/error.h"
#include "core/files.h"
#include "core/stop_signal.h"
#include "launch/campaign/child_process.h"
#include "launch/campaign/job_output.h"
#include "launch/campaign/program_launcher.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int ended_at_once = 130;                         // and nothing was saved
constexpr auto time_to_tidy_up = std::chrono::seconds(5);  // of a launcher whose ranks are killed

enum class Asked : uint8_t { nothing, to_stop, to_end };

// The code in the table of docs/paths.md. Shells and mpirun say 128 and the signal's number.
int code_of_status(int status, Asked asked) {
  constexpr int by_signal = 128;
  const int code = WIFSIGNALED(status) ? by_signal + WTERMSIG(status) : WEXITSTATUS(status);
  if (code <= by_signal) return code;
  const bool was_killed = code == by_signal + SIGKILL;
  if (asked == Asked::to_end || (asked == Asked::to_stop && !was_killed)) return ended_at_once;
  if (code == ended_at_once) return code;
  return static_cast<int>(was_killed ? ExitCode::lost_peer : ExitCode::other);
}

// As a shell would take it.
std::string line_of(const std::vector<std::string>& words) {
  std::string line;
  for (const auto& word : words) {
    const bool plain =
        !word.empty() && word.find_first_of(" \t\n'\"\\$`*?[]{}()<>|&;#~!") == std::string::npos;
    const char* mark = plain ? "" : "'";
    line += fmt::format("{}{}{}{}", line.empty() ? "" : " ", mark, word, mark);
  }
  return line;
}

struct RunningJob {
  RunningJob(const Job& described, const fs::path& log) : job(described), output(log, job.result) {}

  Job job;
  JobOutput output;
  std::vector<std::string> gpus;
  std::unique_ptr<ChildProcess> process;
  Asked asked = Asked::nothing;
};

class LocalExecutor : public Executor {
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
  std::map<std::string, std::string> environment_of(const RunningJob& job) const;
  bool wait(Clock::time_point until);  // false: a signal has come
  void end_late_ones();
  std::vector<JobEnd> collect();

  LocalResources resources_;
  ProgramLauncher launcher_;
  std::vector<std::unique_ptr<RunningJob>> running_;
  std::optional<Clock::time_point> last_moment_;  // of those that were killed
  bool knows_of_stop_ = false;
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
    for (const auto& taken : each->gpus) std::erase(free, taken);
  return free;
}

bool LocalExecutor::has_room(int64_t ranks) const {
  int64_t all = ranks;
  for (const auto& each : running_) all += each->job.ranks;
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
    check(each->job.name != job.name, "job", "{} runs already; a job once at a time is allowed",
          job.name);
  check(has_room(job.ranks), "job", "{} takes {} ranks, but {} jobs run on the {} there are",
        job.name, job.ranks, running_.size(), resources_.ranks);
}

// How many threads a rank has never depends on what runs beside it, as bits do on them.
std::map<std::string, std::string> LocalExecutor::environment_of(const RunningJob& job) const {
  std::map<std::string, std::string> given;
  const bool by_mpirun = job.job.ranks > 1 && !launcher_.launches_without_mpi();
  if (std::getenv("OMP_NUM_THREADS") == nullptr && !by_mpirun) {
    const int64_t most_jobs = std::min(resources_.jobs, resources_.ranks);
    const int64_t shares = job.job.ranks > 1 ? resources_.ranks : most_jobs;
    given["OMP_NUM_THREADS"] = std::to_string(std::max<int64_t>(1, omp_get_num_procs() / shares));
  }
  if (!job.gpus.empty())
    given["CUDA_VISIBLE_DEVICES"] = fmt::format("{}", fmt::join(job.gpus, ","));
  return given;
}

void LocalExecutor::start(const Job& job) {
  check_job(job);
  const fs::path log = resources_.logs / (job.name + ".log");
  make_folder(log.parent_path());
  auto added = std::make_unique<RunningJob>(job, log);
  if (!resources_.gpus.empty()) {
    added->gpus = free_gpus();
    added->gpus.resize(static_cast<size_t>(job.ranks));
  }
  ChildCommand command{.words = launcher_.command(job.arguments, job.ranks),
                       .environment = environment_of(*added),
                       .out = added->output.out(),
                       .error = added->output.error()};
  added->output.say(line_of(command.words));
  added->process = std::make_unique<ChildProcess>(command);
  running_.push_back(std::move(added));
}

std::vector<std::string> LocalExecutor::running() const {
  std::vector<std::string> names;
  for (const auto& each : running_) names.push_back(each->job.name);
  return names;
}

void LocalExecutor::stop() {
  for (const auto& each : running_) {
    if (each->asked != Asked::nothing) continue;
    each->process->send(SIGUSR1);
    each->asked = Asked::to_stop;
  }
}

void LocalExecutor::kill() {
  for (const auto& each : running_) {
    const int signal = launcher_.ending_signal(each->job.ranks);
    if (signal == SIGKILL)
      each->process->kill_all();
    else
      each->process->send(signal);
    each->asked = Asked::to_end;
  }
  if (!last_moment_) last_moment_ = Clock::now() + time_to_tidy_up;
}

void LocalExecutor::end_late_ones() {
  if (!last_moment_ || Clock::now() < *last_moment_) return;
  for (const auto& each : running_)
    if (each->asked == Asked::to_end) each->process->kill_all();
  last_moment_.reset();
}

std::vector<JobEnd> LocalExecutor::collect() {
  std::vector<JobEnd> ends;
  std::erase_if(running_, [&](const auto& each) {
    const auto status = each->process->status();
    if (!status) return false;
    int code = code_of_status(*status, each->asked);
    if (code == 0 && !each->output.keep()) code = static_cast<int>(ExitCode::storage);
    each->output.say(fmt::format("ended with code {}", code));
    ends.push_back({each->job.name, code});
    return true;
  });
  return ends;
}

// A signal that comes between the caller's look at it and the wait ends that, too.
bool LocalExecutor::wait(Clock::time_point until) {
  sigset_t stops, before;
  sigemptyset(&stops);
  for (const int signal : {SIGUSR1, SIGTERM, SIGINT}) sigaddset(&stops, signal);
  pthread_sigmask(SIG_BLOCK, &stops, &before);
  const bool is_news = StopSignal::requested() && !knows_of_stop_;
  knows_of_stop_ |= is_news;
  std::vector<pollfd> watched;
  for (const auto& each : running_)
    watched.push_back({.fd = each->process->descriptor(), .events = POLLIN, .revents = 0});
  using std::chrono::nanoseconds;
  const auto left = std::max(nanoseconds(0), nanoseconds(until - Clock::now())).count();
  constexpr int64_t second = 1'000'000'000;
  const timespec patience{.tv_sec = left / second, .tv_nsec = left % second};
  const bool interrupted =
      is_news || (ppoll(watched.data(), watched.size(), &patience, &before) < 0 && errno == EINTR);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return !interrupted;
}

std::vector<JobEnd> LocalExecutor::ended(milliseconds patience) {
  const auto until = Clock::now() + patience;
  for (bool waits = true;;) {
    end_late_ones();
    auto ends = collect();
    if (!ends.empty() || !waits || Clock::now() >= until) return ends;
    waits = wait(last_moment_ ? std::min(until, *last_moment_) : until);
  }
}

}  // namespace

std::unique_ptr<Executor> make_local_executor(const LocalResources& resources) {
  return std::make_unique<LocalExecutor>(resources);
}

}  // namespace switchyard
