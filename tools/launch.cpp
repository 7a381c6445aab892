#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "core/device.h"
#include "core/error.h"
#include "core/stop_signal.h"
#include "launch/launcher/launch_plan.h"
#include "launch/launcher/local_restarts.h"
#include "launch/launcher/srun_job.h"
#include "launch/slurm/slurm_variables.h"
#include "parallel/comm/rendezvous/tcp_socket.h"
#include "tools/command_support.h"

namespace switchyard {

namespace {

constexpr const char* form = "launch -np N [options] -- SUBCOMMAND ARGUMENTS...";

constexpr const char* usage =
    "Starts N ranks of a subcommand on this machine, on its GPUs or on its cores, without MPI. On "
    "several\n"
    "machines one of these is started on each: with torchrun's options, or by srun with one task a "
    "node,\n"
    "which says them. --srun starts them all from the batch script of a Slurm allocation "
    "(docs/slurm.md).\n\n"
    "USR1, TERM and a first Ctrl-C let all ranks of `train` save and stop; a second Ctrl-C or TERM "
    "ends them.\n"
    "When a rank fails the others are ended, and its exit code is the launcher's; 76 when one was "
    "killed.\n";

// The value of --device among the words of a subcommand; empty: not said.
std::string device_said(const std::vector<std::string>& words) {
  std::string said;
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--device" && i + 1 < words.size()) said = words[i + 1];
    if (words[i].starts_with("--device=")) said = words[i].substr(9);
  }
  return said;
}

void check_gpus(const LaunchPlan& plan) {
  const std::string device = device_said(plan.words);
  if (device == "cpu") return;
  const int gpus = gpu_count();
  check(gpus > 0 || (device.empty() && plan.ranks_per_gpu == 1), "launch",
        "this machine shows no GPU; without --device cuda and --ranks-per-gpu ranks run on its "
        "cores");
  check(gpus == 0 || plan.ranks <= gpus * plan.ranks_per_gpu, "launch",
        "-np {} with {} GPUs and --ranks-per-gpu {}; at most {} ranks are allowed", plan.ranks,
        gpus, plan.ranks_per_gpu, gpus * plan.ranks_per_gpu);
}

// Of this machine's ranks, which could not say it to each other.
void check_open_files(const LaunchPlan& plan) {
  const int64_t all = int64_t{plan.ranks} * plan.nodes;
  if (all > 1) check_descriptors(all, (plan.node == 0 ? all : 1) + descriptors_to_meet);
}

// In a batch script, which runs on the first node alone.
void mention_other_nodes(const LaunchPlan& plan) {
  const int nodes = slurm_number("SLURM_NNODES", 1);
  if (plan.nodes > 1 || nodes == 1 || slurm_step()) return;
  std::fprintf(stderr,
               "switchyard: [launch] %d nodes are allocated, but ranks start on this one alone; "
               "--srun starts them on all\n",
               nodes);
}

}  // namespace

int launch_command(Arguments arguments) {
  const auto dashes = std::ranges::find(arguments, "--");
  const Arguments before(arguments.begin(), dashes);
  if (before.empty() ||
      std::ranges::count(before, "-h") + std::ranges::count(before, "--help") > 0) {
    if (!parse_or_help(launch_options(), before, form)) {
      if (!before.empty()) std::printf("\n%s", usage);
      return 0;
    }
  }
  const LaunchPlan plan = launch_plan(arguments);
  check(std::getenv("OMPI_COMM_WORLD_SIZE") == nullptr, "launch",
        "mpirun has started this launcher; start it without");
  if (plan.node == 0) say_repetitions(plan.repetitions);
  if (plan.over_srun) return run_over_srun(plan);
  hold_back_signals();  // one that comes while GPUs are looked for is for the ranks
  check_gpus(plan);
  check_open_files(plan);
  mention_other_nodes(plan);
  return run_node(plan);
}

}  // namespace switchyard
