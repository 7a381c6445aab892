#include "launch/campaign/slurm_queue.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "core/command.h"
#include "core/error.h"
#include "core/text.h"
#include "launch/slurm/shown_job.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

constexpr auto patience = std::chrono::seconds(30);

std::string without_newline(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  for (char& each : text)
    if (each == '\n') each = ' ';
  return text;
}

// Of a job's state and "CODE:SIGNAL": what it ended with. A node that failed, a time limit and the
// like are losses; who cancels a job ends it at once.
std::optional<int> code_in(std::string_view state, std::string_view text) {
  const auto parts = split_at(':', text.substr(0, text.find_first_of(" \n")));
  if (parts.size() != 2) return {};
  const auto code = parse_number<int>(parts[0]), signal = parse_number<int>(parts[1]);
  if (!code || !signal) return {};
  constexpr int ended_at_once = 130, killed = 137;
  if (state.starts_with("CANCELLED")) return ended_at_once;
  if (*code != 0 && *code != killed) return *code;
  if (state.starts_with("COMPLETED")) return *code;
  return static_cast<int>(state.starts_with("FAILED") && *signal != SIGKILL && *code != killed
                              ? ExitCode::other
                              : ExitCode::lost_peer);
}

bool is_over(std::string_view state) {
  constexpr std::string_view going[] = {"PENDING",   "RUNNING",   "COMPLETING",   "CONFIGURING",
                                        "SUSPENDED", "REQUEUED",  "REQUEUE_HOLD", "STOPPED",
                                        "RESIZING",  "SIGNALING", "STAGE_OUT",    "SPECIAL_EXIT"};
  for (const auto each : going)
    if (state.starts_with(each)) return false;
  return true;
}

}  // namespace

SlurmQueue::SlurmQueue(const fs::path& campaign)
    : comment_("switchyard campaign " + campaign.string()) {}

namespace {

constexpr std::string_view before_tasks = "; tasks ";

// Of the array's tasks that `names` lists, the one with the number behind '_' in its id.
std::string task_name(std::string_view id, std::string_view names) {
  const auto number = parse_number<size_t>(id.substr(id.find('_') + 1));
  const auto all = split_at(' ', names);
  return number && *number < all.size() ? std::string(all[*number]) : std::string();
}

}  // namespace

std::string SlurmQueue::comment(const std::vector<std::string>& tasks) const {
  if (tasks.empty()) return comment_;
  return fmt::format("{}{}{}", comment_, before_tasks, fmt::join(tasks, " "));
}

// Fields apart by a character that no name has.
std::optional<std::vector<QueuedJob>> SlurmQueue::jobs() const {
  const auto said = run_command(
      {"squeue", "--noheader", "--array", "--me", "--format", "%i\x1f%T\x1f%j\x1f%k"}, patience);
  if (!said || said->code != 0) return std::nullopt;
  std::vector<QueuedJob> jobs;
  for (const auto line : split_at('\n', said->output)) {
    const auto fields = split_at('\x1f', line);
    if (fields.size() != 4 || !fields[3].starts_with(comment_) || is_over(fields[1])) continue;
    std::string_view tasks = fields[3].substr(comment_.size());
    const bool is_array = tasks.starts_with(before_tasks);
    if (!tasks.empty() && !is_array) continue;  // of another folder
    if (is_array) tasks.remove_prefix(before_tasks.size());
    jobs.push_back({.id = std::string(fields[0]),
                    .name = is_array ? task_name(fields[0], tasks) : std::string(fields[2]),
                    .runs = fields[1] != "PENDING"});
  }
  return jobs;
}

std::string SlurmQueue::submit(const fs::path& script, const std::vector<std::string>& after,
                               const std::vector<std::string>& task_after) const {
  std::vector<std::string> words = {"sbatch", "--parsable"}, needs;
  if (!after.empty()) needs.push_back(fmt::format("afterok:{}", fmt::join(after, ":")));
  if (!task_after.empty()) needs.push_back(fmt::format("aftercorr:{}", fmt::join(task_after, ":")));
  if (!needs.empty()) {
    words.push_back(fmt::format("--dependency={}", fmt::join(needs, ",")));
    words.emplace_back("--kill-on-invalid-dep=yes");
  }
  words.push_back(script.string());
  const auto said = run_command(words, patience);
  check(said.has_value(), "slurm", "sbatch is not on the PATH, or has not answered for {} s",
        patience.count());
  check(said->code == 0, "slurm", "{} was not taken: {}", script.string(),
        without_newline(said->errors));
  return without_newline(said->output.substr(0, said->output.find(';')));
}

std::optional<int> SlurmQueue::code_of(const std::string& id) const {
  const auto shown = shown_job(id);
  if (shown && !shown->state.empty() && is_over(shown->state))
    return code_in(shown->state, shown->exit_code);
  const auto accounted = run_command({"sacct", "--noheader", "--parsable2", "--allocations",
                                      "--format", "State,ExitCode", "--jobs", id},
                                     patience);
  if (!accounted || accounted->code != 0) return std::nullopt;
  const auto fields = split_at('|', accounted->output);
  return fields.size() == 2 ? code_in(fields[0], fields[1]) : std::nullopt;
}

void SlurmQueue::cancel(const std::string& id) const { run_command({"scancel", id}, patience); }

void SlurmQueue::stop(const QueuedJob& job) const {
  if (!job.runs) return cancel(job.id);
  run_command({"scontrol", "update", "JobId=" + job.id, "Requeue=0"}, patience);
  run_command({"scancel", "--batch", "--signal=USR1", job.id}, patience);
}

}  // namespace switchyard
