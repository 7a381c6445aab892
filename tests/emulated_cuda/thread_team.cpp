#include "tests/emulated_cuda/thread_team.h"

#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/emulated_cuda/faults.h"

namespace emulated {

namespace {

class Team {
 public:
  Team() {
    unsigned size = std::thread::hardware_concurrency();
    if (const char* limit = std::getenv("OMP_NUM_THREADS")) {
      size = static_cast<unsigned>(std::atoi(limit));
    }
    for (unsigned helper = 1; helper < size && helper < 16; ++helper) {
      helpers_.emplace_back([this] { help(); });
    }
  }
  ~Team() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    for (std::thread& helper : helpers_) helper.join();
  }

  void run(const std::function<void()>& work) {
    {
      const std::lock_guard lock(mutex_);
      work_ = &work;
      busy_ = helpers_.size();
      ++round_;
    }
    changed_.notify_all();
    work();
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return busy_ == 0; });
  }

 private:
  void help() {
    use_fault_stack();
    size_t seen = 0;
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return stop_ || round_ != seen; });
      if (stop_) return;
      seen = round_;
      const std::function<void()>& work = *work_;
      lock.unlock();
      work();
      lock.lock();
      if (--busy_ == 0) done_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_, done_;
  const std::function<void()>* work_ = nullptr;
  size_t round_ = 0, busy_ = 0;
  bool stop_ = false;
  std::vector<std::thread> helpers_;
};

}  // namespace

void run_on_team(const std::function<void()>& work) {
  static Team team;
  team.run(work);
}

}  // namespace emulated
