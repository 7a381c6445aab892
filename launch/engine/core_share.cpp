#include "launch/engine/core_share.h"

#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "core/error.h"
#include "core/text.h"

namespace switchyard {

namespace {

std::string environment_variable(const char* name) {
  const char* text = std::getenv(name);
  return text == nullptr ? std::string() : std::string(text);
}

int count_in(std::string_view text) { return std::max(0, take_number<int>(text).value_or(0)); }

// "0-3,8": 5.
int cores_in_list(std::string_view list) {
  int count = 0;
  for (const auto part : split_at(',', list)) {
    const auto ends = split_at('-', part);
    const auto first = parse_number<int>(ends.front()), last = parse_number<int>(ends.back());
    if (!first || !last || *last < *first) return 0;
    count += *last - *first + 1;
  }
  return count;
}

// In a container its first process may run on all that the container has.
int cores_of_first_process() {
  std::ifstream file("/proc/1/status");
  const std::string_view name = "Cpus_allowed_list:\t";
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(name)) return cores_in_list(std::string_view(line).substr(name.size()));
  return 0;
}

}  // namespace

CoresHere cores_here() {
  CoresHere cores{.of_process = omp_get_num_procs(),
                  .of_job = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN))};
  if (const int first = cores_of_first_process(); first > 0)
    cores.of_job = std::min(cores.of_job, first);
  if (const int slurm = count_in(environment_variable("SLURM_CPUS_ON_NODE")); slurm > 0)
    cores.of_job = std::min(cores.of_job, slurm);
  cores.of_job = std::max(cores.of_job, cores.of_process);
  return cores;
}

int tasks_on_node(const std::string& list, int node) {
  std::string_view rest = list;
  const auto sound = [&](bool ok) {
    check(ok, "launch", "\"{}\" is no list of tasks per node, such as 2(x3),1", list);
  };
  for (int first = 0;;) {
    const auto tasks = take_number<int>(rest);
    int nodes = 1;
    sound(tasks && *tasks > 0);
    if (rest.starts_with("(x")) {
      rest.remove_prefix(2);
      nodes = take_number<int>(rest).value_or(0);
      sound(nodes > 0 && rest.starts_with(')'));
      rest.remove_prefix(1);
    }
    first += nodes;
    if (node < first) return *tasks;
    sound(rest.starts_with(','));
    rest.remove_prefix(1);
  }
}

int threads_of_rank(const std::function<std::string(const char*)>& variable,
                    const CoresHere& cores) {
  if (!variable("OMP_NUM_THREADS").empty()) return 0;
  if (const int own = count_in(variable("SLURM_CPUS_PER_TASK")); own > 0)
    return std::min(own, cores.of_process);
  const auto share_of_job = [&](int ranks) {
    return std::clamp(cores.of_job / ranks, 1, cores.of_process);
  };
  if (const int ranks = count_in(variable("OMPI_COMM_WORLD_LOCAL_SIZE")); ranks > 0)
    return share_of_job(ranks);
  // These launchers bind nothing: all have what this process has.
  if (const int ranks = count_in(variable("LOCAL_WORLD_SIZE")); ranks > 0)
    return std::max(1, cores.of_process / ranks);
  // A batch script's own processes are no tasks.
  if (variable("SLURM_STEP_NUM_TASKS").empty()) return cores.of_process;
  if (const std::string list = variable("SLURM_STEP_TASKS_PER_NODE"); !list.empty())
    return share_of_job(tasks_on_node(list, count_in(variable("SLURM_NODEID"))));
  if (const int ranks = count_in(variable("SLURM_NTASKS_PER_NODE")); ranks > 0)
    return share_of_job(ranks);
  return cores.of_process;
}

void share_cores_among_local_ranks() {
  if (const int threads = threads_of_rank(environment_variable, cores_here()); threads > 0)
    omp_set_num_threads(threads);
}

}  // namespace switchyard
