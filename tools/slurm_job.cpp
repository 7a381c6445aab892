#include "tools/slurm_job.h"

#include <algorithm>

#include "core/error.h"
#include "launch/slurm/option_text.h"
#include "tools/commands.h"

namespace switchyard {

namespace {

std::vector<OptionSpec> resource_options() {
  using enum OptionKind;
  const auto group = OptionGroup::run;
  constexpr int most_nodes = 1 << 16, most_tasks = 1024;
  return {{"nodes", integer, group, "1", "nodes", between(1, most_nodes)},
          {"tasks-per-node,ntasks-per-node", integer, group, "1", "ranks on each",
           between(1, most_tasks)},
          {"gpus-per-node", text, group, "", "GPUs of each, such as 8 or h100:8"},
          {"cpus-per-task", integer, group, "", "cores of each rank", at_least(1)},
          {"mem", text, group, "", "memory of each node, such as 64G"},
          {"time", text, group, "", "time limit, such as 1-12:00:00 (the partition's)"},
          {"partition", text, group, "", "partition"},
          {"account", text, group, "", "account"},
          {"qos", text, group, "", "quality of service"},
          {"array", text, group, "", "tasks, such as 1-4%2; %a in a word is a task's number"},
          {"dependency", text, group, "",
           "such as afterok:123; a job whose dependency cannot come true is removed"}};
}

std::vector<OptionSpec> script_options() {
  using enum OptionKind;
  const auto group = OptionGroup::run;
  return {
      {"job-name", text, group, "", "(RUN's last part)"},
      {"output", text, group, "", "log, in Slurm's patterns (beside the script)"},
      {"signal-seconds", integer, group, "120",
       "so long before the time limit ranks are asked to save and stop", at_least(1)},
      {"no-requeue", flag, group, "", "what was stopped or lost is not queued again"},
      {"restarts", integer, group, "3",
       "within the job: so often go on when a rank was lost or hung", at_least(0)},
      {"min-nodes", integer, group, "", "go on where so many nodes are left (all)", at_least(1)},
      {"mpi", text, group, "none", "how ranks find each other: none (TCP, NCCL), pmix, mpirun",
       one_of({"none", "pmix", "mpirun"})},
      {"srun-options", text, group, "", "more options of srun's, as a shell reads them"},
      {.name = "sbatch-option",
       .kind = list,
       .help = "more options of sbatch's, with their dashes",
       .adds_up = true},
      {"script", text, group, "", "the script's file (RUN/slurm/NAME.sbatch)"},
      {"submit", flag, group, "", "submit it by sbatch"}};
}

// A limit has to leave time between the signal and its end.
void check_time(const Settings& given, bool is_signalled) {
  if (!given.has("time")) return;
  check_limit("slurm", "--time", given.text("time"), "--signal-seconds",
              is_signalled ? given.integer("signal-seconds") : 0);
}

bool has_number(const std::string& word) { return word.find("%a") != std::string::npos; }

void check_array(const SlurmJob& job) {
  if (!job.given.has("array")) return;
  const std::string& array = job.given.text("array");
  check(std::ranges::any_of(job.words, has_number), "slurm",
        "--array {} without a word that has %a, a task's number: all tasks would do the same",
        array);
  check(job.words[0] != "train" || has_number(job.words[1]), "slurm",
        "--array {} with the one path '{}' for all tasks; a RUN that has %a is allowed, such as "
        "{}-%a",
        array, job.words[1], job.words[1]);
}

bool names_it(const std::string& word, const std::string& name) {
  return word == name || word == name + "/" || word + "/" == name;
}

}  // namespace

std::vector<OptionSpec> slurm_options() {
  auto options = resource_options();
  for (auto& option : script_options()) options.push_back(std::move(option));
  return options;
}

SlurmJob slurm_job(const Settings& given, const std::string& name,
                   const std::vector<std::string>& words) {
  check(!words.empty(), "slurm",
        "-- and a subcommand are missing; such as switchyard slurm {} --nodes 2 -- train --tp 2",
        name);
  const auto all = subcommands();
  const auto command = std::ranges::find(all, words[0], &Subcommand::name);
  const bool wraps = words[0] == "launch" || words[0] == "slurm";
  check(command != all.end() && !wraps, "slurm",
        "'{}' stands behind --; a subcommand is allowed there, such as train", words[0]);
  SlurmJob job{.name = name, .given = given, .words = words, .takes_ranks = command->takes_ranks};
  job.nodes = given.integer("nodes");
  job.tasks = given.integer("tasks-per-node");
  const bool takes_name = words[0] == "train" || words[0] == "eval" || words[0] == "replay";
  const bool has_name = words.size() > 1 && names_it(words[1], name);
  if (takes_name && !has_name) job.words.insert(job.words.begin() + 1, name);
  check_time(given, job.takes_ranks);
  check_array(job);
  if (given.has("srun-options")) words_of_options(given.text("srun-options"));
  check(job.takes_ranks || job.nodes * job.tasks == 1, "slurm",
        "'{}' is the work of one process; --nodes {} --tasks-per-node {} are not allowed", words[0],
        job.nodes, job.tasks);
  return job;
}

}  // namespace switchyard
