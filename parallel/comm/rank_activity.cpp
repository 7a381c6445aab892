#include "parallel/comm/rank_activity.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "parallel/comm/system_call.h"

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;

struct Wait {
  std::string what;
  std::vector<int> missing;
  Clock::time_point since;
};

// Never destroyed: others may ask until the process is gone.
struct Activity {
  std::mutex mutex;
  std::map<int64_t, Wait> waits;
  int64_t next = 0;
};

Activity& activity() {
  static auto& all = *new Activity;
  return all;
}

std::atomic<int64_t> last_step = 0;
std::atomic<Clock::rep> last_begin = Clock::now().time_since_epoch().count();

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

void note_operation(int64_t step) {
  // A checkpoint of an earlier step may still be on its way.
  const int64_t latest = std::max(step, last_step.load(std::memory_order_relaxed));
  last_step.store(latest, std::memory_order_relaxed);
  last_begin.store(Clock::now().time_since_epoch().count(), std::memory_order_relaxed);
}

OpenWait::OpenWait(std::string what, std::vector<int> missing) {
  Activity& all = activity();
  const std::lock_guard lock(all.mutex);
  number_ = all.next++;
  all.waits[number_] = {std::move(what), std::move(missing), Clock::now()};
}

OpenWait::~OpenWait() {
  const std::lock_guard lock(activity().mutex);
  activity().waits.erase(number_);
}

void OpenWait::set_missing(std::vector<int> world_ranks) {
  const std::lock_guard lock(activity().mutex);
  activity().waits[number_].missing = std::move(world_ranks);
}

RankActivity activity_of_process() {
  RankActivity mine{.step = last_step.load(std::memory_order_relaxed)};
  const Clock::duration begin(last_begin.load(std::memory_order_relaxed));
  mine.seconds = seconds_since(Clock::time_point(begin));
  Activity& all = activity();
  const std::lock_guard lock(all.mutex);
  if (all.waits.empty()) {
    mine.call = file_call_of_process();
    return mine;
  }
  const Wait& oldest = all.waits.begin()->second;
  mine.what = oldest.what;
  mine.seconds = seconds_since(oldest.since);
  std::set<int> missing;
  for (const auto& [number, wait] : all.waits)
    missing.insert(wait.missing.begin(), wait.missing.end());
  mine.missing.assign(missing.begin(), missing.end());
  return mine;
}

}  // namespace switchyard
