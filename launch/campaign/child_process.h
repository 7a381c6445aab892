#pragma once

#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/files.h"

namespace switchyard {

struct ChildCommand {
  std::vector<std::string> words;                    // the first is a program's file
  std::map<std::string, std::string> environment{};  // beside this process's own
  int out = -1;                                      // open files
  int error = -1;
};

// A program that runs in a process group of its own, so that the terminal's interrupt does not come
// to it, with no input, no other open file and no signal ignored or held back. When the thread that
// made it dies with this process, it gets USR1.
class ChildProcess {
 public:
  // Throws Error where the program cannot be started.
  explicit ChildProcess(const ChildCommand& command);
  ~ChildProcess();  // with all that it has started, where it still runs
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  int descriptor() const { return watched_.number(); }  // has input once it has ended
  void send(int signal);                                // nothing where it has ended
  void kill_all();                                      // with all that it has started
  std::optional<int> status();  // as of waitpid(), once it has ended; does not wait

 private:
  pid_t pid_ = -1;
  Descriptor watched_;
  std::optional<int> status_;
};

}  // namespace switchyard
