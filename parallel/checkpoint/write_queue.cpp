#include "parallel/checkpoint/write_queue.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace switchyard {

namespace {

constexpr int64_t buffer_bytes = int64_t{8} << 20;
constexpr int most_buffers = 6;
constexpr size_t huge_page = size_t{2} << 20;  // few pages make a write twice as fast
constexpr size_t most_threads = 4;             // one alone leaves the disk idle between its writes
// What is set aside for it, as such a write waits for all that are on their way past the cache.
constexpr size_t most_set_aside = size_t{8} << 20;

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
    const bool follows = filling_.file == &file && position == filling_.begin + filling_.bytes;
    const auto room =
        follows ? filling_.buffer.get() + buffer_bytes - (filling_.data + filling_.bytes) : 0;
    if (room == 0) {
      hand_over();
      take_buffer();
      filling_.file = &file;
      filling_.begin = position;
      filling_.data = filling_.buffer.get() + position % DirectFile::block_bytes();
      continue;
    }
    const auto part = std::min(bytes.size(), static_cast<size_t>(room));
    std::memcpy(filling_.buffer.get() + buffer_bytes - room, bytes.data(), part);
    filling_.bytes += static_cast<int64_t>(part);
    position += static_cast<int64_t>(part);
    bytes = bytes.subspan(part);
  }
}

void WriteQueue::add_staying(const DirectFile& file, int64_t position,
                             std::span<const std::byte> bytes) {
  const int64_t block = DirectFile::block_bytes();
  const auto address = static_cast<int64_t>(reinterpret_cast<uintptr_t>(bytes.data()));
  if (std::ssize(bytes) < DirectFile::least_bytes || address % block != position % block)
    return add(file, position, bytes);
  {
    const std::lock_guard lock(mutex_);
    throw_problem();
  }
  const int64_t end = position + std::ssize(bytes);
  const auto [first, last] = DirectFile::blocks_in(position, end);
  const auto before = static_cast<size_t>(first - position);
  set_aside(file, position, bytes.first(before));
  set_aside(file, last, bytes.last(static_cast<size_t>(end - last)));
  for (int64_t begin = first; begin < last; begin += buffer_bytes) {
    queue({.file = &file,
           .begin = begin,
           .bytes = std::min(buffer_bytes, last - begin),
           .data = bytes.data() + (begin - position)});
  }
  if (rest_bytes_ > most_set_aside) write_rests();
}

void WriteQueue::wait() {
  hand_over();
  end_threads();
  write_rests();
  throw_problem();
}

void WriteQueue::free_buffers() {
  filling_.buffer.reset();
  free_.clear();
  buffers_ = 0;
}

void WriteQueue::hand_over() {
  if (filling_.file == nullptr) return;
  const int64_t begin = filling_.begin, end = begin + filling_.bytes;
  const auto [first, last] = filling_.bytes < DirectFile::least_bytes
                                 ? std::pair(end, end)
                                 : DirectFile::blocks_in(begin, end);
  const std::span all(filling_.data, static_cast<size_t>(filling_.bytes));
  set_aside(*filling_.file, begin, all.first(static_cast<size_t>(first - begin)));
  set_aside(*filling_.file, last, all.last(static_cast<size_t>(end - last)));
  Part blocks{filling_.file, first, last - first, filling_.data + (first - begin),
              std::move(filling_.buffer)};
  filling_ = {};
  if (blocks.bytes == 0) {
    filling_.buffer = std::move(blocks.buffer);
  } else {
    queue(std::move(blocks));
  }
  if (rest_bytes_ > most_set_aside) write_rests();
}

// One is enough where the system starts no more of them, or has no memory for one.
void WriteQueue::start_thread() {
  if (threads_.size() >= most_threads) return;
  try {
    threads_.emplace_back([this] { work(); });
  } catch (const std::exception&) {
    if (threads_.empty()) throw;
  }
}

void WriteQueue::queue(Part part) {
  start_thread();
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(part));
  }
  changed_.notify_all();
}

void WriteQueue::set_aside(const DirectFile& file, int64_t begin,
                           std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  rests_.push_back({&file, begin, {bytes.begin(), bytes.end()}});
  rest_bytes_ += bytes.size();
}

void WriteQueue::write_rests() {
  for (const Rest& rest : rests_) note(*rest.file, rest.file->write_cached(rest.begin, rest.bytes));
  rests_.clear();
  rest_bytes_ = 0;
}

// Waits for a buffer; tells of what went wrong meanwhile.
void WriteQueue::take_buffer() {
  std::unique_lock lock(mutex_);
  if (!filling_.buffer && free_.empty() && buffers_ < most_buffers) {
    filling_.buffer.reset(static_cast<std::byte*>(std::aligned_alloc(huge_page, buffer_bytes)));
    check(filling_.buffer || buffers_ > 0, "checkpoint",
          "the system gives no {} bytes to write with; the least that a save needs", buffer_bytes);
    if (filling_.buffer) {
      free_.reserve(most_buffers);  // threads that write ask for no memory
      madvise(filling_.buffer.get(), buffer_bytes, MADV_HUGEPAGE);  // where there are such
      ++buffers_;
    }
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
    if (!in_vain) {
      const std::span bytes(part.data, static_cast<size_t>(part.bytes));
      note(*part.file, part.file->write(part.begin, bytes));
    }
    lock.lock();
    if (part.buffer) free_.push_back(std::move(part.buffer));
    changed_.notify_all();
  }
}

void WriteQueue::note(const DirectFile& file, std::error_code problem) {
  const std::lock_guard lock(mutex_);
  if (!problem || problem_) return;
  problem_ = problem;
  problem_file_ = &file;
}

void WriteQueue::throw_problem() {
  if (!problem_) return;
  fail(ExitCode::storage, "checkpoint", "cannot write {}: {}", problem_file_->path().string(),
       problem_.message());
}

}  // namespace switchyard
