#include "launch/path/lease_holder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <sstream>

#include "core/command.h"
#include "core/error.h"
#include "core/files.h"
#include "core/text.h"
#include "parallel/comm/rendezvous/job_identity.h"

namespace switchyard {

namespace {

// Of a small file of the kernel's; empty where it cannot be read.
std::string read_kernel_file(const std::string& name) {
  const Descriptor open(::open(name.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 1024> text{};
  const ssize_t got = open ? read(open.number(), text.data(), text.size()) : 0;
  return {text.data(), static_cast<size_t>(std::max<ssize_t>(0, got))};
}

// The name in parentheses may hold anything. A process that has ended but for its parent's wait is
// gone. Of what follows the name the first word is the state, the 20th the start.
std::optional<int64_t> start_of(int64_t process) {
  const std::string text = read_kernel_file(fmt::format("/proc/{}/stat", process));
  const size_t end = text.rfind(')');
  if (end == std::string::npos) return std::nullopt;
  std::istringstream words(text.substr(end + 1));
  std::string word;
  for (int i = 0; i < 20 && words >> word; ++i) {
    if (i == 0 && (word == "Z" || word == "X")) return std::nullopt;
  }
  return parse_number<int64_t>(word);
}

constexpr const char* launch_name = "SWITCHYARD_LAUNCHER";
constexpr const char* start_name = "SWITCHYARD_LAUNCHER_START";

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string pid_space() {
  std::array<char, 64> name{};
  const ssize_t length = readlink("/proc/self/ns/pid", name.data(), name.size());
  return {name.data(), static_cast<size_t>(std::max<ssize_t>(0, length))};
}

bool is_over(const std::string& state) {
  constexpr std::array<std::string_view, 13> over = {
      "BOOT_FAIL",    "CANCELLED",     "COMPLETED", "DEADLINE",  "FAILED",
      "NODE_FAIL",    "OUT_OF_MEMORY", "PENDING",   "PREEMPTED", "REQUEUED",
      "REQUEUE_HOLD", "SPECIAL_EXIT",  "TIMEOUT"};
  return std::ranges::find(over, state) != over.end();
}

// A job of the holder that runs may be a later start of it.
Life life_by_slurm(const LeaseHolder& holder) {
  const auto answer = run_command({"squeue", "--noheader", "--states=all", "--jobs=" + holder.job,
                                   "--Format=State:20,RestartCnt:10"},
                                  std::chrono::seconds(5));
  if (!answer) return Life::unknown;
  if (answer->code != 0) {
    const bool unheard_of = answer->errors.find("Invalid job id") != std::string::npos;
    return unheard_of ? Life::gone : Life::unknown;
  }
  std::istringstream lines(answer->output);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string state;
    int64_t restarts = 0;
    if (!(words >> state >> restarts)) continue;
    if (!is_over(state) && restarts <= holder.restarts) return Life::unknown;
  }
  return Life::gone;
}

}  // namespace

LeaseHolder this_process() {
  const JobIdentity job = job_identity();
  std::string boot = read_kernel_file("/proc/sys/kernel/random/boot_id");
  while (!boot.empty() && boot.back() == '\n') boot.pop_back();
  LeaseHolder holder{.host = job.host, .boot = std::move(boot), .pid_space = pid_space()};
  holder.process = getpid();
  holder.started = start_of(holder.process).value_or(0);
  holder.scheduler = job.scheduler;
  holder.cluster = job.cluster;
  holder.job = job.id;
  holder.restarts = job.restarts;
  holder.launch = variable(launch_name);
  holder.start = parse_number<int64_t>(variable(start_name)).value_or(0);
  return holder;
}

void set_launched_start(int64_t start) {
  const LeaseHolder self = this_process();
  const auto launch = fmt::format("{}-{}-{}", self.boot, self.process, self.started);
  setenv(launch_name, launch.c_str(), 1);
  setenv(start_name, std::to_string(start).c_str(), 1);
}

Json to_json(const LeaseHolder& holder) {
  return {{"host", holder.host},       {"boot", holder.boot},       {"pid_space", holder.pid_space},
          {"process", holder.process}, {"started", holder.started}, {"scheduler", holder.scheduler},
          {"cluster", holder.cluster}, {"job", holder.job},         {"restarts", holder.restarts},
          {"launch", holder.launch},   {"start", holder.start}};
}

LeaseHolder lease_holder_from(const Json& json) {
  LeaseHolder holder;
  holder.host = json.value("host", "");
  holder.boot = json.value("boot", "");
  holder.pid_space = json.value("pid_space", "");
  holder.process = json.value("process", int64_t{0});
  holder.started = json.value("started", int64_t{0});
  holder.scheduler = json.value("scheduler", "");
  holder.cluster = json.value("cluster", "");
  holder.job = json.value("job", "");
  holder.restarts = json.value("restarts", int64_t{0});
  holder.launch = json.value("launch", "");
  holder.start = json.value("start", int64_t{0});
  return holder;
}

std::string describe(const LeaseHolder& holder) {
  std::string text = fmt::format("process {} on {}", holder.process, holder.host);
  if (holder.scheduler == "slurm") text += fmt::format(", Slurm job {}", holder.job);
  if (holder.restarts > 0) text += fmt::format(", restart {}", holder.restarts);
  return text;
}

namespace {

bool is_near(const LeaseHolder& holder, const LeaseHolder& self) {
  return !holder.boot.empty() && holder.boot == self.boot && !holder.pid_space.empty() &&
         holder.pid_space == self.pid_space;
}

}  // namespace

bool is_alive_here(const LeaseHolder& holder, const LeaseHolder& self) {
  return is_near(holder, self) && start_of(holder.process) == holder.started;
}

bool is_of_earlier_start(const LeaseHolder& holder, const LeaseHolder& self) {
  return !holder.launch.empty() && holder.launch == self.launch && holder.start < self.start;
}

Life life_of(const LeaseHolder& holder, const LeaseHolder& self) {
  if (is_near(holder, self)) return is_alive_here(holder, self) ? Life::alive : Life::gone;
  if (holder.scheduler != "slurm" || holder.job.empty()) return Life::unknown;
  const bool same_cluster =
      holder.cluster == self.cluster || holder.cluster.empty() || self.cluster.empty();
  if (!same_cluster) return Life::unknown;
  const bool same_job = self.scheduler == "slurm" && holder.job == self.job;
  if (same_job && self.restarts > holder.restarts) return Life::gone;
  return life_by_slurm(holder);
}

}  // namespace switchyard
