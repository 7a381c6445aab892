#include "parallel/comm/rendezvous/job_identity.h"

#include <fmt/core.h>
#include <pwd.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "core/text.h"

namespace switchyard {

namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

std::string user_name() {
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 4096> room{};
  const uid_t user = geteuid();
  if (getpwuid_r(user, &entry, room.data(), room.size(), &found) == 0 && found != nullptr)
    return entry.pw_name;
  return std::to_string(user);
}

// What started this process as a rank. mpirun under Slurm starts its daemons by srun, and a batch
// script alone is no step.
std::string launcher_name() {
  const auto has = [](const char* name) { return std::getenv(name) != nullptr; };
  if (has("OMPI_COMM_WORLD_SIZE")) return "mpirun";
  if (has("SWITCHYARD_LAUNCHED")) return "switchyard launch";
  if (has("TORCHELASTIC_RUN_ID")) return "torchrun";
  return has("SLURM_STEP_ID") ? "srun" : "";
}

}  // namespace

JobIdentity job_identity() {
  JobIdentity job;
  job.host = host_name();
  job.user = user_name();
  job.launcher = launcher_name();
  job.id = variable("SLURM_JOB_ID");
  if (job.id.empty()) return job;
  job.scheduler = "slurm";
  job.cluster = variable("SLURM_CLUSTER_NAME");
  job.nodes = variable("SLURM_JOB_NODELIST");
  job.restarts = parse_number<int>(variable("SLURM_RESTART_COUNT")).value_or(0);
  const std::string task = variable("SLURM_ARRAY_TASK_ID");
  if (!task.empty()) job.array = fmt::format("{}_{}", variable("SLURM_ARRAY_JOB_ID"), task);
  return job;
}

std::string describe(const JobIdentity& job) {
  if (job.scheduler.empty()) return fmt::format("host {}", job.host);
  const std::string restart = job.restarts > 0 ? fmt::format(", restart {}", job.restarts) : "";
  return fmt::format("Slurm job {}{}, on {}", job.array.empty() ? job.id : job.array, restart,
                     job.nodes.empty() ? job.host : job.nodes);
}

}  // namespace switchyard
