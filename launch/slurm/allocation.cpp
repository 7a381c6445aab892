#include "launch/slurm/allocation.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "core/command.h"
#include "core/error.h"
#include "core/text.h"
#include "launch/slurm/shown_job.h"
#include "launch/slurm/slurm_variables.h"

namespace switchyard {

namespace {

// Those that Slurm knows to be gone. A star behind a state: the node does not answer.
bool is_down(std::string_view state) {
  if (state.ends_with('*')) return true;
  for (const char* word : {"down", "drain", "fail", "maint", "reboot", "power", "unknown"})
    if (state.find(word) != std::string_view::npos) return true;
  return false;
}

// What one of Slurm's commands printed; code 127: it is not there, or did not end in time.
CommandResult said_by(const std::vector<std::string>& words) {
  return run_command(words, std::chrono::seconds(30)).value_or(CommandResult{127, "", ""});
}

std::vector<std::string> lines_of(const CommandResult& said) {
  std::vector<std::string> lines;
  for (const auto line : split_at('\n', said.output))
    if (!line.empty()) lines.emplace_back(line);
  return lines;
}

std::set<std::string> nodes_down(const std::string& list) {
  std::set<std::string> down;
  const auto said = said_by({"sinfo", "-h", "-N", "-n", list, "-o", "%N %T"});
  for (const std::string& line : lines_of(said)) {
    const auto words = split_at(' ', line);
    if (words.size() == 2 && is_down(words[1])) down.emplace(words[0]);
  }
  return down;
}

}  // namespace

std::vector<std::string> nodes_of_allocation() {
  const std::string list = slurm_text("SLURM_JOB_NODELIST");
  check(!slurm_text("SLURM_JOB_ID").empty() && !list.empty(), "launch",
        "--srun outside of a Slurm allocation; it is a batch script's last line (docs/slurm.md)");
  const auto said = said_by({"scontrol", "show", "hostnames", list});
  auto nodes = lines_of(said);
  check(said.code == 0 && !nodes.empty(), ExitCode::other, "launch",
        "'scontrol show hostnames {}' names no nodes (exit code {})", list, said.code);
  return nodes;
}

// A drained node goes on with what its job starts, so that a probe answers; it is left out so that
// its repair can begin.
std::vector<std::string> answering_nodes(const std::vector<std::string>& nodes) {
  const std::string list = fmt::format("{}", fmt::join(nodes, ","));
  const auto down = nodes_down(list);
  std::vector<std::string> left;
  std::ranges::copy_if(nodes, std::back_inserter(left),
                       [&](const std::string& node) { return !down.contains(node); });
  if (left.empty()) return left;
  const std::string count = std::to_string(left.size());
  const auto said = said_by({"timeout", "--kill-after=2", "25", "srun", "--overlap", "--no-kill",
                             "--mpi=none", "--kill-on-bad-exit=0", "--quiet", "--cpus-per-task=1",
                             "--nodes=" + count, "--ntasks=" + count, "--ntasks-per-node=1",
                             fmt::format("--nodelist={}", fmt::join(left, ",")), "sh", "-c",
                             "echo \"node $SLURMD_NODENAME\""});
  const auto lines = lines_of(said);
  std::erase_if(left, [&](const std::string& node) {
    return std::ranges::find(lines, "node " + node) == lines.end();
  });
  return left;
}

// A job that an array's task has submitted has the array's variables, too.
std::string job_of_allocation() {
  std::string job = slurm_text("SLURM_JOB_ID");
  const std::string array = slurm_text("SLURM_ARRAY_JOB_ID");
  if (array.empty() || slurm_text("SLURM_ARRAY_TASK_ID").empty()) return job;
  std::string task = array + "_" + slurm_text("SLURM_ARRAY_TASK_ID");
  const auto shown = shown_job(task);
  const bool is_another = shown && shown->id != job;
  return is_another ? job : task;
}

bool is_cancelled(const std::string& job) {
  const auto shown = shown_job(job);
  if (!shown || shown->reason == "TimeLimit") return false;
  return shown->state == "COMPLETING" || shown->state.starts_with("CANCELLED");
}

int cores_per_node() {
  int least = 0;
  const std::string text = slurm_text("SLURM_JOB_CPUS_PER_NODE");  // "4(x2),8"
  for (std::string_view part : split_at(',', text)) {
    const int cores = take_number<int>(part).value_or(0);
    if (cores > 0 && (least == 0 || cores < least)) least = cores;
  }
  return least;
}

}  // namespace switchyard
