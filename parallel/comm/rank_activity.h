#pragma once

#include <cstdint>
#include <string>
#include <vector>

// What the ranks of this process do, for others that are stuck and ask (inquiry.h).
namespace switchyard {

struct RankActivity {
  std::string what{};          // the operation that it waits in; empty: it waits for nobody
  std::vector<int> missing{};  // for whom, as world ranks
  double seconds = 0;          // since that wait, or else its last operation, began
  int64_t step = 0;            // the latest of its operations
  std::string call{};          // where it waits for nobody: its call for a file (system_call.h)
};
RankActivity activity_of_process();

void note_operation(int64_t step);  // one begins

// A wait for other ranks that has lasted a while, for the life of this object.
class OpenWait {
 public:
  // `what` is an operation's description; `missing` are world ranks.
  OpenWait(std::string what, std::vector<int> missing);
  ~OpenWait();
  OpenWait(const OpenWait&) = delete;
  OpenWait& operator=(const OpenWait&) = delete;
  void set_missing(std::vector<int> world_ranks);

 private:
  int64_t number_;
};

}  // namespace switchyard
