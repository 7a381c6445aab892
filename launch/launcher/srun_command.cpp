#include <fmt/ranges.h>

#include "launch/launcher/srun_job.h"
#include "launch/slurm/allocation.h"
#include "launch/slurm/option_text.h"
#include "launch/slurm/slurm_variables.h"

namespace switchyard {

namespace {

using Words = std::vector<std::string>;

void append(Words& to, const Words& words) { to.insert(to.end(), words.begin(), words.end()); }

// One launcher on each node: it knows what became of its ranks.
Words launcher_words(const LaunchPlan& plan, const std::string& program) {
  Words words{program, "launch", "-np", std::to_string(plan.ranks)};
  if (plan.ranks_per_gpu > 1)
    append(words, {"--ranks-per-gpu", std::to_string(plan.ranks_per_gpu)});
  words.emplace_back("--");
  return words;
}

// A cut cable or a dead node ends mpirun within seconds only where it looks after its connections.
Words mpirun_words(const LaunchPlan& plan, const Words& nodes) {
  Words places;
  places.reserve(nodes.size());
  for (const auto& node : nodes) places.push_back(fmt::format("{}:{}", node, plan.ranks));
  Words words{"mpirun"};
  append(words, {"-np", std::to_string(nodes.size() * static_cast<size_t>(plan.ranks))});
  append(words, {"--host", fmt::format("{}", fmt::join(places, ","))});
  for (const char* option : {"keepalive_time 5", "keepalive_intvl 2", "keepalive_probes 3"}) {
    words.emplace_back("--mca");
    append(words, words_of_options(fmt::format("oob_tcp_{}", option)));
  }
  return words;
}

// Without data, as at the end of MPI_Init, Slurm's other way ("tree", of 22.05) joins the ranks of
// one node alone, and what one node's send ends those of another that are still in MPI_Init by
// SIGSEGV.
Words fence_words() {
  const char* variable = "SLURM_PMIX_FENCE";
  return slurm_text(variable).empty() ? Words{"env", fmt::format("{}=ring", variable)} : Words{};
}

// Since 22.05 srun takes no --cpus-per-task from its batch script.
Words srun_words(const LaunchPlan& plan, const Words& nodes) {
  const bool launches = plan.mpi == "none";
  const int tasks = launches ? 1 : plan.ranks;
  const int cores = launches ? cores_per_node() : slurm_number("SLURM_CPUS_PER_TASK", 0);
  Words words = plan.mpi == "pmix" ? fence_words() : Words{};
  append(words, {"srun", "--kill-on-bad-exit=1", "--mpi=" + plan.mpi,
                 fmt::format("--nodes={}", nodes.size()),
                 fmt::format("--ntasks={}", nodes.size() * static_cast<size_t>(tasks)),
                 fmt::format("--ntasks-per-node={}", tasks),
                 fmt::format("--nodelist={}", fmt::join(nodes, ","))});
  if (cores > 0) words.push_back(fmt::format("--cpus-per-task={}", cores));
  return words;
}

}  // namespace

std::vector<std::string> usable_nodes(const Words& answering, int ranks_per_node,
                                      const LaunchedTraining& training) {
  const int64_t replica = training.tp * training.pp;
  size_t count = answering.size();
  while (count > 0 && static_cast<int64_t>(count) * ranks_per_node % replica != 0) --count;
  return {answering.begin(), answering.begin() + static_cast<ptrdiff_t>(count)};
}

std::vector<std::string> step_command(const LaunchPlan& plan, const Words& words,
                                      const Words& nodes, const std::string& program) {
  Words command = plan.mpi == "mpirun" ? mpirun_words(plan, nodes) : srun_words(plan, nodes);
  append(command, words_of_options(plan.srun_options));
  if (plan.mpi == "none")
    append(command, launcher_words(plan, program));
  else
    command.push_back(program);
  append(command, words);
  return command;
}

}  // namespace switchyard
