#include "launch/launcher/launch_plan.h"

#include <algorithm>
#include <cstdlib>

#include "core/error.h"
#include "core/text.h"
#include "launch/path/command_line.h"
#include "launch/slurm/option_text.h"
#include "launch/slurm/slurm_variables.h"

namespace switchyard {

namespace {

constexpr const char* form = "; such as switchyard launch -np 2 -- train RUN ...";
constexpr int most_ranks = 1024, most_nodes = 1 << 16, most_ports = 65'535;

std::vector<OptionSpec> node_options() {
  using enum OptionKind;
  const auto group = OptionGroup::run;
  return {{"nproc-per-node,np", integer, group, "", "ranks on each node", between(1, most_ranks)},
          {"ranks-per-gpu", integer, group, "1", "ranks that share each GPU: slow, to test layouts",
           between(1, most_ranks)},
          {"nnodes", integer, group, "",
           "nodes, on each of which one of these is started (1; under srun what it says)",
           between(1, most_nodes)},
          {"node-rank", integer, group, "", "this node's number from 0 on (what srun says)",
           between(0, most_nodes)},
          {"master-addr", text, group, "", "the node of rank 0 (the first that srun names)"},
          {"master-port", integer, group, "",
           "a free port of that node (any; on several nodes of the job's number)",
           between(1, most_ports)}};
}

std::vector<OptionSpec> restart_options() {
  using enum OptionKind;
  const auto group = OptionGroup::run;
  return {
      {"restarts,max-restarts", integer, group, "0",
       "so often start again from the last saved step when a rank was lost or hung (76, 77)",
       between(0, most_ranks)},
      {"srun", flag, group, "",
       "start the ranks on all nodes of a Slurm allocation, from its batch script"},
      {"min-nodes", integer, group, "",
       "with --srun: go on where so many nodes are left (all are needed)", between(1, most_nodes)},
      {"requeue", flag, group, "",
       "with --srun: scontrol requeue where going on makes sense (75, 76, 77)"},
      {"mpi", text, group, "none",
       "with --srun: none (ranks talk over TCP or NCCL), pmix or mpirun",
       one_of({"none", "pmix", "mpirun"})},
      {"srun-options", text, group, "",
       "with --srun: more options of srun's, as a shell reads them"}};
}

// -np and -n, as mpirun has them.
std::vector<std::string> with_long_names(std::span<const std::string> words) {
  std::vector<std::string> all(words.begin(), words.end());
  for (std::string& word : all)
    if (word == "-np" || word == "-n") word = "--nproc-per-node";
  return all;
}

int number(const Settings& given, const char* name, int otherwise) {
  return given.has(name) ? static_cast<int>(given.integer(name)) : otherwise;
}

void take_slurm(LaunchPlan& plan, const SlurmStep& step) {
  check(step.tasks == step.nodes, "launch",
        "srun started {} of this launcher on {} {}; one on each node is allowed: srun --ntasks={} "
        "--ntasks-per-node=1 switchyard launch -np N -- ...",
        step.tasks, step.nodes, step.nodes == 1 ? "node" : "nodes", step.nodes);
  plan.nodes = step.nodes;
  plan.node = step.node;
  plan.master_addr = step.first_host;
  plan.master_port = step.port;
}

void check_nodes(const LaunchPlan& plan, const Settings& given) {
  check(plan.node < plan.nodes, "launch", "--node-rank {} of --nnodes {}; 0 to {} is allowed",
        plan.node, plan.nodes, plan.nodes - 1);
  if (plan.nodes == 1) return;
  check(!plan.master_addr.empty() && plan.master_port > 0, "launch",
        "--nnodes {} without --master-addr and --master-port; where does rank 0 run?", plan.nodes);
  check(plan.restarts == 0, "launch",
        "--restarts {} on {} nodes, whose launchers know nothing of each other; it is allowed on "
        "one, or in a Slurm allocation with --srun",
        plan.restarts, plan.nodes);
  check(given.has("node-rank") || slurm_step(), "launch",
        "--nnodes {} without --node-rank; 0 to {} is allowed", plan.nodes, plan.nodes - 1);
}

void check_srun(const LaunchPlan& plan, const Settings& given) {
  if (!plan.over_srun) {
    for (const char* name : {"min-nodes", "requeue", "srun-options"})
      check(!given.has(name), "launch", "--{} without --srun; it is allowed in a Slurm allocation",
            name);
    check(!given.has("mpi"), "launch", "--mpi without --srun; ranks of launch talk without MPI");
    return;
  }
  words_of_options(plan.srun_options);  // a quote that is left open is said before the first step
  for (const char* name : {"nnodes", "node-rank", "master-addr", "master-port"})
    check(!given.has(name), "launch", "--{} with --srun, which Slurm knows; leave it out", name);
}

LaunchPlan plan_of(const Settings& given) {
  LaunchPlan plan;
  plan.over_srun = given.flag("srun");
  if (const auto step = slurm_step(); step && !plan.over_srun && !given.has("nnodes"))
    take_slurm(plan, *step);
  plan.ranks = number(given, "nproc-per-node", plan.over_srun ? slurm_tasks_per_node() : 0);
  plan.ranks_per_gpu = number(given, "ranks-per-gpu", 1);
  plan.nodes = number(given, "nnodes", plan.nodes);
  plan.node = number(given, "node-rank", plan.node);
  if (given.has("master-addr")) plan.master_addr = given.text("master-addr");
  plan.master_port = number(given, "master-port", plan.master_port);
  plan.restarts = number(given, "restarts", 0);
  plan.min_nodes = number(given, "min-nodes", 0);
  plan.requeues = given.flag("requeue");
  if (given.has("mpi")) plan.mpi = given.text("mpi");
  if (given.has("srun-options")) plan.srun_options = given.text("srun-options");
  return plan;
}

}  // namespace

std::vector<OptionSpec> launch_options() {
  auto options = node_options();
  for (auto& option : restart_options()) options.push_back(std::move(option));
  return options;
}

LaunchPlan launch_plan(std::span<const std::string> arguments) {
  const auto dashes = std::ranges::find(arguments, "--");
  const auto before = with_long_names({arguments.begin(), dashes});
  const Command command = parse_command(launch_options(), before);
  check(command.positional.empty(), "launch",
        "'{}' stands before --; options alone are allowed there{}",
        command.positional.empty() ? "" : command.positional[0], form);
  LaunchPlan plan = plan_of(command.given);
  plan.repetitions = describe_repetitions(launch_options(), before);
  check_srun(plan, command.given);
  check(plan.ranks > 0, "launch", "-np is missing: how many ranks{}?",
        plan.nodes > 1 || plan.over_srun ? " on each node" : "");
  if (!plan.over_srun) check_nodes(plan, command.given);
  if (plan.master_addr.empty()) plan.master_addr = "127.0.0.1";
  check(dashes != arguments.end() && dashes + 1 != arguments.end(), "launch",
        "-- and a subcommand are missing{}", form);
  plan.words.assign(dashes + 1, arguments.end());
  return plan;
}

}  // namespace switchyard
