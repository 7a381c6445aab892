#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace switchyard {

// How several ranks of the program are started on this machine.
class ProgramLauncher {
 public:
  // `program`: its file. `kind`: "mpirun", "launch" (`switchyard launch`), or "auto": launch where
  // there are GPUs. Throws Error for other words.
  ProgramLauncher(std::filesystem::path program, const std::string& kind, bool has_gpus);

  // The command of one rank is the program's own. Throws Error where mpirun is wanted and found
  // neither beside the program nor in the PATH.
  std::vector<std::string> command(const std::vector<std::string>& arguments, int64_t ranks) const;
  // What ends all ranks at once while they run, where their launcher can be asked to.
  int ending_signal(int64_t ranks) const;
  bool launches_without_mpi() const { return launches_; }

 private:
  std::filesystem::path program_;
  bool launches_;
};

// The real file of the program that runs.
std::filesystem::path this_program();

}  // namespace switchyard
