#include "parallel/comm/mpi/progress.h"

#include <sched.h>
#include <sys/prctl.h>
#include <time.h>

#include <algorithm>

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// How long to rest before the next poll, given how long nothing has moved: a fraction of that, so
// that the delay it adds stays a fraction of the wait.
class Backoff {
 public:
  explicit Backoff(std::chrono::microseconds spin) : spin_(spin) {}
  void moved() { since_ = Clock::now(); }
  void rest() const {
    const auto idle = Clock::now() - since_;
    if (idle < spin_)
      sched_yield();
    else
      std::this_thread::sleep_for(std::clamp<Clock::duration>(idle / 16, 20us, 500us));
  }

 private:
  std::chrono::microseconds spin_;
  Clock::time_point since_ = Clock::now();
};

// Processor time of this thread: unlike the clock's, it does not count turns given to others.
std::chrono::nanoseconds time_worked() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

constexpr auto waiter_spin = 300us;  // longer than small collectives of 8 ranks on 2 cores take
constexpr auto thread_spin = 0us;

}  // namespace

ProgressEngine::ProgressEngine() : thread_([this] { poll_while_nobody_waits(); }) {}

ProgressEngine::~ProgressEngine() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    wake_.notify_one();
  }
  thread_.join();
}

void ProgressEngine::start(std::shared_ptr<ProgressTask> task) {
  task->poll();
  if (task->finished()) return;
  ++outstanding_;
  background_ += task->in_background_;
  const std::lock_guard lock(mutex_);
  incoming_.push_back(std::move(task));
  if (background_ > 0 && asleep_ && waiting_ == 0) wake_.notify_one();
}

bool ProgressEngine::try_poll() {
  const std::unique_lock polling(polling_, std::try_to_lock);
  if (!polling) return false;
  {
    const std::lock_guard lock(mutex_);
    active_.insert(active_.end(), std::make_move_iterator(incoming_.begin()),
                   std::make_move_iterator(incoming_.end()));
    incoming_.clear();
  }
  const auto begin = time_worked();
  bool moved = false;
  for (const auto& task : active_) moved |= task->poll();
  std::erase_if(active_, [&](const auto& task) {
    if (!task->finished()) return false;
    background_ -= task->in_background_;
    --outstanding_;
    return true;
  });
  // A library that copies pieces without finishing a message shows in the time it takes.
  return moved || time_worked() - begin > 20us;
}

template <class Condition>
bool ProgressEngine::poll_until(const Condition& reached, std::chrono::milliseconds timeout) {
  if (reached()) return true;
  const auto begin = Clock::now();
  ++waiting_;
  Backoff backoff(waiter_spin);
  bool in_time = true;
  while (!reached() && in_time) {
    if (try_poll())
      backoff.moved();
    else if (!reached())
      backoff.rest();
    in_time = Clock::now() - begin < timeout;  // a library that only yields seems to work as well
  }
  if (--waiting_ == 0 && background_ > 0) {
    const std::lock_guard lock(mutex_);
    wake_.notify_one();
  }
  return in_time || reached();
}

bool ProgressEngine::wait(const ProgressTask& task, std::chrono::milliseconds timeout) {
  return poll_until([&] { return task.finished(); }, timeout);
}

bool ProgressEngine::drain(std::chrono::milliseconds timeout) {
  return poll_until([&] { return outstanding_ == 0; }, timeout);
}

void ProgressEngine::poll_while_nobody_waits() {
  prctl(PR_SET_TIMERSLACK, 1000);  // nanoseconds; short sleeps are as short as asked for
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      asleep_ = true;
      wake_.wait(lock, [&] { return stop_ || (background_ > 0 && waiting_ == 0); });
      asleep_ = false;
      if (stop_) return;
    }
    Backoff backoff(thread_spin);
    while (background_ > 0 && waiting_ == 0) {
      if (try_poll())
        backoff.moved();
      else
        backoff.rest();
    }
  }
}

}  // namespace switchyard
