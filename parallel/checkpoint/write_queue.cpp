#include "parallel/checkpoint/write_queue.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace switchyard {

namespace {

constexpr int64_t buffer_bytes = int64_t{8} << 20;
constexpr int most_buffers = 4;
constexpr size_t most_threads = 2;  // one alone leaves the disk idle between its writes
// Less than this goes to the system's cache at once: a thread would cost more.
constexpr int64_t small_part = int64_t{64} << 10;

// In its buffer a part lies as far behind a block's begin as in the file.
int64_t place_in_buffer(int64_t begin) { return begin % DirectFile::block_bytes(); }

}  // namespace

WriteQueue::~WriteQueue() {
  {
    const std::lock_guard lock(mutex_);
    queue_.clear();
  }
  end_threads();
}

// They end when the queue is empty.
void WriteQueue::end_threads() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  ending_ = false;
}

void WriteQueue::add(const DirectFile& file, int64_t position, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const int64_t used = place_in_buffer(filling_.begin) + filling_.bytes;
    const bool follows = filling_.file == &file && position == filling_.begin + filling_.bytes;
    if (!follows || used == buffer_bytes) {
      hand_over();
      take_buffer();
      filling_.file = &file;
      filling_.begin = position;
      continue;
    }
    const auto part = std::min(bytes.size(), static_cast<size_t>(buffer_bytes - used));
    std::memcpy(filling_.buffer.get() + used, bytes.data(), part);
    filling_.bytes += static_cast<int64_t>(part);
    position += static_cast<int64_t>(part);
    bytes = bytes.subspan(part);
  }
}

void WriteQueue::wait() {
  hand_over();
  end_threads();
  throw_problem();
}

void WriteQueue::hand_over() {
  if (filling_.file == nullptr) return;
  Part part = std::exchange(filling_, {});
  if (part.bytes < small_part) {
    note(part, write(part));
    filling_.buffer = std::move(part.buffer);
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(part));
  }
  if (threads_.size() < most_threads) threads_.emplace_back([this] { work(); });
  changed_.notify_all();
}

// Waits for a buffer; tells of what went wrong meanwhile.
void WriteQueue::take_buffer() {
  std::unique_lock lock(mutex_);
  if (!filling_.buffer && free_.empty() && buffers_ < most_buffers) {
    const auto block = static_cast<size_t>(DirectFile::block_bytes());
    filling_.buffer.reset(static_cast<std::byte*>(std::aligned_alloc(block, buffer_bytes)));
    check(static_cast<bool>(filling_.buffer), "checkpoint", "no memory for {} bytes", buffer_bytes);
    ++buffers_;
  }
  if (!filling_.buffer) {
    changed_.wait(lock, [&] { return !free_.empty(); });
    filling_.buffer = std::move(free_.back());
    free_.pop_back();
  }
  throw_problem();
}

void WriteQueue::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return ending_ || !queue_.empty(); });
    if (queue_.empty()) return;
    Part part = std::move(queue_.front());
    queue_.pop_front();
    const bool in_vain = static_cast<bool>(problem_);
    lock.unlock();
    const std::error_code problem = in_vain ? std::error_code() : write(part);
    note(part, problem);
    lock.lock();
    free_.push_back(std::move(part.buffer));
    changed_.notify_all();
  }
}

std::error_code WriteQueue::write(const Part& part) const {
  const std::byte* data = part.buffer.get() + place_in_buffer(part.begin);
  return part.file->write(part.begin, {data, static_cast<size_t>(part.bytes)});
}

void WriteQueue::note(const Part& part, std::error_code problem) {
  const std::lock_guard lock(mutex_);
  if (!problem || problem_) return;
  problem_ = problem;
  problem_file_ = part.file->path();
}

void WriteQueue::throw_problem() {
  check(!problem_, "checkpoint", "cannot write {}: {}", problem_file_.string(), problem_.message());
}

}  // namespace switchyard
