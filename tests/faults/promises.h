#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "tests/faults/trace.h"

namespace switchyard::test {

// What a user may count on by what was said so far: "saved step N" of the program, and lines of
// the driver, which knows which command has ended well:
//   harness: run NAME         what is said from here on is of this run
//   harness: has NAME         its path.json is there
//   harness: step NAME N      this step of it is there
//   harness: pinned NAME N    as a fork point, until it is unpinned
//   harness: lines NAME N     its records of the steps 1 to N, also where they are given up
//   harness: whole NAME       a folder, as it is now, to the last byte
//   harness: gives up NAME    steps may go although they are the newest
class Promises {
 public:
  // Returns what is wrong with the change itself, or nothing.
  std::string hear(const Event& event);

  struct Run {
    bool exists = false;
    std::set<int64_t> steps, pinned;
    int64_t newest = -1;     // that was said to be saved
    int64_t published = -1;  // that has been given its name
    bool gives_up = false;
    int64_t lines = 0;
  };
  const std::map<std::string, Run>& runs() const { return runs_; }
  // Folders whose contents hold, with their hash; 0: to be settled by what is there now.
  std::map<std::string, uint64_t>& whole() { return whole_; }
  const std::map<std::string, uint64_t>& whole() const { return whole_; }

 private:
  void read_line(const std::string& line);
  std::string forget(const std::string& run, int64_t step);

  std::map<std::string, Run> runs_;
  std::map<std::string, uint64_t> whole_;
  std::string now_;
};

}  // namespace switchyard::test
