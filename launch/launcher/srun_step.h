#pragma once

#include <sys/types.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

// How a step of a Slurm job, or mpirun in its place, has ended.
struct StepEnd {
  int code = 0;              // of the first task that failed, as in the table of docs/paths.md
  bool was_asked = false;    // a signal asked it to stop
  int ended_by = 0;          // the signal that asked it, and nothing else; 0: something else
  bool faulted = false;      // the first that failed was ended by SIGSEGV
  bool by_usr1 = false;      // or by USR1, for which a rank or launcher was not ready yet
  std::string lost_nodes{};  // that srun said to have failed, in Slurm's short form
};

// What srun says of the first task that failed, in the lines that it writes itself: srun's own code
// is the largest of all tasks', also of those that it ended behind the first.
class SrunLines {
 public:
  void read(std::string_view line);
  bool has_failed() const { return first_code_ != 0 || reported_code_ != 0; }  // a task
  // With srun's code, or mpirun's: 128 and a signal's number where that ended a task.
  StepEnd end(int code) const;

 private:
  int first_code_ = 0;     // 0: none was said
  int reported_code_ = 0;  // by a rank itself
  bool faulted_ = false;
  bool by_usr1_ = false;
  std::string lost_nodes_;
};

// Runs srun until it ends. The first signal that comes asks the ranks to save and stop, by one USR1
// to srun, which passes it on; a second TERM or interrupt (StopRequests) ends the step, with 130
// where nothing else had ended it before. Once a task has failed
// srun has 20 s to end: for a node that is gone it would wait until Slurm takes it for down.
// mpirun, which has no KillWait, has 6.
StepEnd run_step(const std::vector<std::string>& words);

}  // namespace switchyard
