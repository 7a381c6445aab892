#include "parallel/checkpoint/read_ahead.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace switchyard {

ReadAhead::ReadAhead(std::vector<Part> parts, size_t buffers) : parts_(std::move(parts)) {
  int64_t largest = 0;
  for (const Part& part : parts_) largest = std::max(largest, part.bytes);
  for (size_t i = 0; i < std::min(buffers, parts_.size()); ++i)
    buffers_.emplace_back(largest, Device::cpu, "checkpoint part");
  thread_ = std::thread([this, label = thread_label()] {
    set_thread_label(label);
    work();
  });
}

ReadAhead::~ReadAhead() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

std::span<const std::byte> ReadAhead::next() {
  std::unique_lock lock(mutex_);
  check(given_ < parts_.size(), "checkpoint", "more parts were asked for than the {} there are",
        parts_.size());
  free_ = given_;
  changed_.notify_all();
  changed_.wait(lock, [&] { return read_ > given_ || problem_; });
  if (read_ == given_) std::rethrow_exception(problem_);
  const auto* data = static_cast<const std::byte*>(buffers_[given_ % buffers_.size()].data());
  return {data, static_cast<size_t>(parts_[given_++].bytes)};
}

void ReadAhead::work() {
  std::unique_lock lock(mutex_);
  while (read_ < parts_.size()) {
    changed_.wait(lock, [&] { return ending_ || read_ < free_ + buffers_.size(); });
    if (ending_) return;
    void* const out = buffers_[read_ % buffers_.size()].data();
    const Part& part = parts_[read_];
    lock.unlock();
    std::exception_ptr problem;
    try {
      part.read(out);
    } catch (...) {
      problem = std::current_exception();
    }
    lock.lock();
    problem_ = problem;
    if (!problem) ++read_;
    changed_.notify_all();
    if (problem) return;
  }
}

}  // namespace switchyard
