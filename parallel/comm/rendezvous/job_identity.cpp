#include "parallel/comm/rendezvous/job_identity.h"

#include <fmt/core.h>
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

}  // namespace

JobIdentity job_identity() {
  JobIdentity job;
  job.host = host_name();
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
