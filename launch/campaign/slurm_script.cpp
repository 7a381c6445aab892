#include "launch/campaign/slurm_script.h"

#include "core/error.h"
#include "core/files.h"
#include "launch/campaign/program_launcher.h"
#include "launch/path/options.h"
#include "launch/slurm/batch_script.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

// A line for what was asked for.
std::string asked(const std::string& name, const std::string& value) {
  return value.empty() ? "" : directive(name, value);
}

std::string head(const Campaign& campaign, const std::string& name, const std::string& comment,
                 const std::vector<SlurmTask>& tasks) {
  const SlurmResources& slurm = campaign.resources.slurm;
  const int64_t ranks = tasks.front().job.ranks, nodes = slurm_nodes(slurm, ranks);
  const auto log = campaign.folder / "logs" / (tasks.front().job.name + ".log");
  std::string text = "#!/usr/bin/env bash\n";
  text += directive("job-name", name) + directive("comment", comment);
  text += directive("output", tasks.size() > 1 ? "/dev/null" : log_pattern(log.string()));
  if (tasks.size() > 1) text += directive("array", fmt::format("0-{}", tasks.size() - 1));
  text += directive("nodes", std::to_string(nodes));
  text += directive("ntasks-per-node", std::to_string(ranks / nodes));
  text += asked("cpus-per-task", slurm.cpus_per_task);
  text += asked("gpus-per-node", slurm.gpus_per_node);
  for (const auto& [option, value] : slurm.options) text += directive(option, value);
  text += fmt::format("#SBATCH --open-mode=append --requeue --signal=B:USR1@{}\n",
                      slurm.signal_seconds);
  for (const auto& option : slurm.sbatch) text += fmt::format("#SBATCH {}\n", option);
  return text;
}

// The functions that all tasks share.
constexpr const char* functions = R"(
job= asked=
hand_on() {
  asked=${asked:-$1}
  [[ ! $job ]] || kill "-$1" "$job" 2>/dev/null
}
trap 'hand_on USR1' USR1
trap 'hand_on TERM' TERM

# Runs a command, which gets the signals that ask to save; a failure ends the script with its code.
run() {
  local code
  "$@" & job=$!
  while code=0; wait "$job" || code=$?; kill -0 "$job" 2>/dev/null; do :; done
  job=
  # Slurm's signal before a time limit has ended what has nothing to save: stopped, as ranks are.
  # The number of an array means all its tasks; the last one has it, too.
  if ((code == 138)) && [[ $asked == USR1 ]]; then
    local id=$SLURM_JOB_ID
    [[ ${SLURM_ARRAY_JOB_ID:-} != "$id" ]] || id+=_$SLURM_ARRAY_TASK_ID
    scontrol requeue "$id" || true
    code=75
  fi
  ((code == 0)) || exit "$code"
}
# Ranks; what was stopped, or lost a rank or node, is put back into the queue.
ranks() { run "$program" launch --srun -np "$each" --mpi "$mpi" --requeue -- "$@"; }
)";

// A result takes its name once it is whole.
std::string lines_of(const SlurmTask& task, const char* indent) {
  std::string text;
  const auto add = [&](const std::string& line) { text += fmt::format("{}{}\n", indent, line); };
  const auto alone = [&](const auto& words) { add("run \"$program\" " + show(words)); };
  const bool has_ranks = task.job.ranks > 1 || task.job.arguments.front() == "train";
  const std::string work = (has_ranks ? "ranks " : "run \"$program\" ") + show(task.job.arguments);
  for (const auto& words : task.before) alone(words);
  if (task.job.result.empty()) {
    add(work);
  } else {
    const std::string result = task.job.result.string();
    const std::string partial = show({temporary_of(task.job.result).string()});
    add(fmt::format("{} >{}", work, partial));
    add(fmt::format("mv {} {}", partial, show({result})));
  }
  for (const auto& words : task.behind) alone(words);
  return text;
}

}  // namespace

int64_t slurm_nodes(const SlurmResources& slurm, int64_t ranks) {
  const int64_t each = slurm.tasks_per_node;
  if (each == 0 || ranks <= each) return 1;
  check(ranks % each == 0, "slurm",
        "a job of {} ranks with tasks-per-node {}; a multiple of it, or at most as many, is "
        "allowed",
        ranks, each);
  return ranks / each;
}

std::string slurm_script(const Campaign& campaign, const std::string& name,
                         const std::string& comment, const std::vector<SlurmTask>& tasks) {
  const SlurmResources& slurm = campaign.resources.slurm;
  std::string text = head(campaign, name, comment, tasks);
  text += "set -eu\n";
  for (const auto& line : slurm.setup) text += line + "\n";
  const int64_t ranks = tasks.front().job.ranks;
  text += fmt::format("program={} mpi={} each={}\n{}", show({this_program().string()}), slurm.mpi,
                      ranks / slurm_nodes(slurm, ranks), functions);
  text +=
      "\necho \"== $SLURM_JOB_NAME: job $SLURM_JOB_ID, restart ${SLURM_RESTART_COUNT:-0}, on "
      "$SLURM_JOB_NODELIST\" >&2\n";
  if (tasks.size() == 1) return text + lines_of(tasks.front(), "");
  text += "case $SLURM_ARRAY_TASK_ID in\n";
  for (size_t i = 0; i < tasks.size(); ++i) {
    const auto log = campaign.folder / "logs" / (tasks[i].job.name + ".log");
    text += fmt::format("  {})\n    exec >>{} 2>&1\n{}    ;;\n", i, show({log.string()}),
                        lines_of(tasks[i], "    "));
  }
  return text + "esac\n";
}

}  // namespace switchyard
