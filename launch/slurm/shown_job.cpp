#include "launch/slurm/shown_job.h"

#include <chrono>
#include <string_view>

#include "core/command.h"
#include "core/text.h"

namespace switchyard {

namespace {

// The value behind NAME= in a line of words; the first one, as a comment of a user's may say
// others.
std::string value_of(std::string_view line, std::string_view name) {
  for (const std::string_view word : split_at(' ', line)) {
    const bool is_it = word.starts_with(name) && word.substr(name.size()).starts_with('=');
    if (is_it) return std::string(word.substr(name.size() + 1));
  }
  return "";
}

}  // namespace

std::optional<ShownJob> shown_job(const std::string& id) {
  const auto said = run_command({"scontrol", "show", "job", "-o", id}, std::chrono::seconds(30));
  if (!said || said->code != 0) return std::nullopt;
  const std::string_view line = std::string_view(said->output).substr(0, said->output.find('\n'));
  return ShownJob{.id = value_of(line, "JobId"),
                  .state = value_of(line, "JobState"),
                  .reason = value_of(line, "Reason"),
                  .exit_code = value_of(line, "ExitCode")};
}

}  // namespace switchyard
