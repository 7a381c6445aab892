#pragma once

#include <optional>
#include <string>

namespace switchyard {

// What `scontrol show job` says of a job; of a whole array, of the first task that it names.
struct ShownJob {
  std::string id{};         // the number that the job has of its own
  std::string state{};      // RUNNING, COMPLETING, ...
  std::string reason{};     // such as TimeLimit
  std::string exit_code{};  // "CODE:SIGNAL"
};
// Nothing where Slurm knows it not (any more), or has not answered within half a minute.
std::optional<ShownJob> shown_job(const std::string& id);

}  // namespace switchyard
