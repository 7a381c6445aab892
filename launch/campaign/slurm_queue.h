#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace switchyard {

// A job of a campaign as Slurm lists it.
struct QueuedJob {
  std::string id;    // "1234", of an array's task "1234_5"
  std::string name;  // the campaign's name for it, of an array's task for that
  bool runs = false;
};

// Jobs of one campaign in Slurm's queue, told apart from all others by their comment. Through
// Slurm's commands, found on the PATH; they are given half a minute.
class SlurmQueue {
 public:
  explicit SlurmQueue(const std::filesystem::path& campaign);  // its folder

  // Those that wait or run. Nothing where Slurm does not answer just now.
  std::optional<std::vector<QueuedJob>> jobs() const;
  // Queues a script; `after`: ids of jobs that must have succeeded (of arrays, task for task).
  // Returns the job's id. Throws Error with what Slurm says.
  std::string submit(const std::filesystem::path& script, const std::vector<std::string>& after,
                     const std::vector<std::string>& task_after) const;
  // What it ended with, by Slurm's record; nothing where there is none (any more).
  std::optional<int> code_of(const std::string& id) const;
  // Lets a job that runs save and end, and be requeued by nobody; takes one that waits out.
  void stop(const QueuedJob& job) const;
  void cancel(const std::string& id) const;

  // Of a job; of an array with the names of its tasks, in their order.
  std::string comment(const std::vector<std::string>& tasks = {}) const;

 private:
  std::string comment_;
};

}  // namespace switchyard
