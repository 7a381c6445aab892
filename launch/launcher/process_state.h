#pragma once

#include <sys/types.h>

#include <string>

namespace switchyard {

// What /proc says of a process that does not end, from outside: nothing of it has to run.
struct ProcessState {
  char state = '?';   // as in /proc/PID/status; D of any thread before all others
  std::string words;  // "was stopped (state T)"
  std::string text;   // a few lines for a file: state and memory, then each thread's name, state,
                      // where in the kernel it waits and system call, and stack where root asks
};
ProcessState look_at_process(pid_t process);
char state_of_process(pid_t process);  // of its first thread; '?' where it is gone

}  // namespace switchyard
