#include "parallel/checkpoint/read_threads.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.h"

namespace switchyard {

namespace {

constexpr size_t most_threads = 6;
constexpr int64_t few_bytes = int64_t{8} << 20;

class ReadThreads {
 public:
  ReadThreads(size_t jobs, const std::function<ReadWorker()>& make_worker)
      : jobs_(jobs), make_worker_(make_worker) {}

  void run(const TellBytes& progress) {
    std::vector<std::thread> threads;
    while (threads.size() < std::min(jobs_, most_threads) && start_one(threads)) {
    }
    report(progress);
    for (std::thread& thread : threads) thread.join();
    if (problem_) std::rethrow_exception(problem_);
  }

 private:
  bool start_one(std::vector<std::thread>& threads);
  void work();
  void report(const TellBytes& progress);
  void note(size_t job);  // the exception that is being handled

  const size_t jobs_;
  const std::function<ReadWorker()>& make_worker_;
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t next_ = 0;
  size_t working_ = 0;  // threads
  int64_t told_ = 0;    // bytes that progress has not heard of
  std::exception_ptr problem_;
  size_t problem_job_ = 0;
};

// False: the system starts no more than there are, or has no memory for one.
bool ReadThreads::start_one(std::vector<std::thread>& threads) {
  const auto count = [this](size_t change) {
    const std::lock_guard lock(mutex_);
    working_ += change;
  };
  count(1);
  try {
    threads.emplace_back([this, label = thread_label()] {
      set_thread_label(label);
      work();
    });
  } catch (const std::exception&) {
    count(size_t{0} - 1);
    if (threads.empty()) throw;
    return false;
  }
  return true;
}

void ReadThreads::work() {
  size_t job = 0;
  try {
    const ReadWorker worker = make_worker_();
    const TellBytes tell = [this](int64_t bytes) {
      const std::lock_guard lock(mutex_);
      told_ += bytes;
      changed_.notify_one();
    };
    while (true) {
      {
        const std::lock_guard lock(mutex_);
        if (next_ == jobs_) break;
        job = next_++;
      }
      worker(job, tell);
    }
  } catch (...) {
    note(job);
  }
  const std::lock_guard lock(mutex_);
  --working_;
  changed_.notify_one();
}

void ReadThreads::note(size_t job) {
  const std::lock_guard lock(mutex_);
  next_ = jobs_;
  if (problem_ && problem_job_ <= job) return;
  problem_ = std::current_exception();
  problem_job_ = job;
}

void ReadThreads::report(const TellBytes& progress) {
  std::unique_lock lock(mutex_);
  while (working_ > 0 || told_ > 0) {
    changed_.wait(lock, [&] { return told_ > 0 || working_ == 0; });
    const int64_t bytes = std::exchange(told_, 0);
    lock.unlock();
    try {
      if (progress && bytes > 0) progress(bytes);
    } catch (...) {
      note(0);
      lock.lock();
      changed_.wait(lock, [&] { return working_ == 0; });
      return;
    }
    lock.lock();
  }
}

}  // namespace

void read_on_threads(size_t jobs, int64_t bytes, const std::function<ReadWorker()>& make_worker,
                     const TellBytes& progress) {
  if (jobs == 0) return;
  if (jobs > 1 && bytes > few_bytes) return ReadThreads(jobs, make_worker).run(progress);
  const ReadWorker worker = make_worker();
  const TellBytes tell = [&](int64_t part) {
    if (progress) progress(part);
  };
  for (size_t job = 0; job < jobs; ++job) worker(job, tell);
}

}  // namespace switchyard
