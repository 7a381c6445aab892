#include "launch/campaign/slurm_script.h"

#include "core/error.h"
#include "core/files.h"
#include "launch/campaign/program_launcher.h"
#include "launch/path/options.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

// Slurm reads '%' in names of files.
std::string pattern(const fs::path& file) {
  std::string text;
  for (const char each : file.string())
    text += each == '%' ? std::string("%%") : std::string(1, each);
  return text;
}

std::string directive(const std::string& name, const std::string& value) {
  return value.empty() ? "" : fmt::format("#SBATCH --{}=\"{}\"\n", name, value);
}

std::string head(const Campaign& campaign, const std::string& name, const std::string& comment,
                 const std::vector<SlurmTask>& tasks) {
  const SlurmResources& slurm = campaign.resources.slurm;
  const int64_t ranks = tasks.front().job.ranks, nodes = slurm_nodes(slurm, ranks);
  const auto log = campaign.folder / "logs" / (tasks.front().job.name + ".log");
  std::string text = "#!/usr/bin/env bash\n";
  text += directive("job-name", name) + directive("comment", comment);
  text += directive("output", tasks.size() > 1 ? "/dev/null" : pattern(log));
  if (tasks.size() > 1) text += directive("array", fmt::format("0-{}", tasks.size() - 1));
  text += directive("nodes", std::to_string(nodes));
  text += directive("ntasks-per-node", std::to_string(ranks / nodes));
  text += directive("cpus-per-task", slurm.cpus_per_task);
  text += directive("gpus-per-node", slurm.gpus_per_node);
  for (const auto& [option, value] : slurm.options) text += directive(option, value);
  text += fmt::format("#SBATCH --open-mode=append --requeue --signal=B:USR1@{}\n",
                      slurm.signal_seconds);
  for (const auto& option : slurm.sbatch) text += fmt::format("#SBATCH {}\n", option);
  return text;
}

// The functions that all tasks share.
constexpr const char* functions = R"(
job=
trap '[[ ! $job ]] || kill -USR1 "$job"' USR1 TERM

# Runs a command; the signal that asks to save is handed on to it. A failure ends the script; what
# was stopped, or lost a rank or node, is put back into the queue.
run() {
  local code
  "$@" & job=$!
  while code=0; wait "$job" || code=$?; kill -0 "$job" 2>/dev/null; do :; done
  job=
  case $code in
    0) return ;;
    75) again || true ;;
    76 | 77 | 137 | 139) ((${SLURM_RESTART_COUNT:-0} >= 10)) || again || true ;;
  esac
  exit "$code"
}
again() { # Slurm ends the script
  trap - USR1 TERM
  scontrol requeue "$SLURM_JOB_ID" && sleep 60
}
ranks() { run srun --kill-on-bad-exit=1 --mpi="$mpi" "$@"; }
)";

std::string command(const std::vector<std::string>& arguments) {
  return fmt::format("\"$program\" {}", show(arguments));
}

// A result takes its name once it is whole.
std::string lines_of(const SlurmTask& task, const char* indent) {
  std::string text;
  const auto add = [&](const std::string& line) { text += fmt::format("{}{}\n", indent, line); };
  for (const auto& words : task.before) add("run " + command(words));
  const std::string start = task.job.ranks > 1 ? "ranks " : "run ";
  if (task.job.result.empty()) {
    add(start + command(task.job.arguments));
  } else {
    const std::string result = task.job.result.string();
    const std::string partial = show({temporary_of(task.job.result).string()});
    add(fmt::format("{}{} >{}", start, command(task.job.arguments), partial));
    add(fmt::format("mv {} {}", partial, show({result})));
  }
  for (const auto& words : task.behind) add("run " + command(words));
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
  text +=
      fmt::format("program={} mpi={}\n{}", show({this_program().string()}), slurm.mpi, functions);
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
