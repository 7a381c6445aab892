#include "tests/emulated_cuda/block_runner.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <numeric>
#include <random>

namespace emulated {

thread_local constinit Here here;

namespace {

constexpr unsigned warp_size = 32;
constexpr size_t most_shared_bytes = 227 << 10, shared_area = 228 << 10, page = 4096;

}  // namespace

void ReadySet::fill(unsigned count) {
  for (unsigned word = 0; word < words_.size(); ++word) {
    const unsigned begin = 64 * word;
    words_[word] = count >= begin + 64 ? ~uint64_t{0}
                   : count > begin     ? (uint64_t{1} << (count - begin)) - 1
                                       : 0;
  }
}

unsigned ReadySet::take_first() {
  for (unsigned word = 0; word < words_.size(); ++word) {
    if (words_[word] == 0) continue;
    const auto bit = static_cast<unsigned>(std::countr_zero(words_[word]));
    words_[word] &= words_[word] - 1;
    return 64 * word + bit;
  }
  return none;
}

BlockRunner& block_runner() {
  static thread_local BlockRunner runner;
  return runner;
}

// Shared memory lies before a page that faults.
BlockRunner::BlockRunner() {
  void* area =
      mmap(nullptr, shared_area + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (area == MAP_FAILED) throw std::bad_alloc();
  shared_end_ = static_cast<char*>(area) + shared_area;
  mprotect(shared_end_, page, PROT_NONE);
}

BlockRunner::~BlockRunner() { munmap(shared_end_ - shared_area, shared_area + page); }

void BlockRunner::prepare(dim3 threads, dim3 blocks, size_t shared_bytes,
                          const std::function<void()>* body, const char* name) {
  here.threads = threads;
  here.blocks = blocks;
  here.kernel = name;
  here.thread = {0, 0, 0};
  if (threads.y != 1 || threads.z != 1) report("threads of a block must be one-dimensional");
  if (threads.x == 0 || threads.x > 1024) {
    report("a block has 1 to 1024 threads, not " + std::to_string(threads.x));
  }
  if (shared_bytes > most_shared_bytes) {
    report("a block has at most " + std::to_string(most_shared_bytes) +
           " bytes of shared memory, not " + std::to_string(shared_bytes));
  }
  body_ = body;
  shared_variables_.begin_launch();
  shared_bytes_ = (shared_bytes + 15) / 16 * 16;
  here.dynamic_shared = shared_end_ - shared_bytes_;
  if (count_ != threads.x) {
    count_ = threads.x;
    threads_.assign(count_, Thread{});
    thread_at_.resize(count_);
    position_of_.resize(count_);
    shuffled_.clear();
  }
}

void BlockRunner::arrange(Order order, uint64_t seed) {
  if (order == Order::shuffled && shuffled_.empty()) {
    shuffled_.resize(count_);
    std::iota(shuffled_.begin(), shuffled_.end(), 0u);
    std::shuffle(shuffled_.begin(), shuffled_.end(), std::mt19937_64(seed));
  }
  for (unsigned position = 0; position < count_; ++position) {
    const unsigned thread = order == Order::ascending    ? position
                            : order == Order::descending ? count_ - 1 - position
                                                         : shuffled_[position];
    thread_at_[position] = thread;
    position_of_[thread] = position;
  }
}

void BlockRunner::run(uint3 block, Order order, uint64_t seed) {
  here.block = block;
  here.thread = {0, 0, 0};
  std::memset(shared_end_ - shared_bytes_, 0xff, shared_bytes_);
  shared_variables_.begin_block();
  arrange(order, seed);
  for (Thread& thread : threads_) thread.state = State::unstarted;
  for (unsigned warp = 0; warp < warps_.size(); ++warp) {
    const unsigned begin = warp * warp_size;
    const unsigned lanes = count_ > begin ? std::min(count_ - begin, warp_size) : 0;
    warps_[warp] = {lanes == 32 ? ~0u : (1u << lanes) - 1, 0, 0, 0};
  }
  finished_ = in_barrier_ = predicates_ = 0;
  ready_.fill(count_);
  run_threads();
  here.thread = {0, 0, 0};
}

void BlockRunner::run_threads() {
  make_current(next_thread());
  outside_.switch_to(*threads_[current_].fiber);
}

unsigned BlockRunner::next_thread() {
  const unsigned position = ready_.take_first();
  if (position == ReadySet::none) report_deadlock();
  return thread_at_[position];
}

void BlockRunner::make_current(unsigned thread) {
  if (threads_[thread].state == State::unstarted) threads_[thread].fiber = idle_fiber();
  current_ = thread;
  here.thread.x = thread;
}

// On a fiber: runs the current thread, then further ones as long as they have not begun, which
// spares kernels without barriers all changes of stack. Returns who goes on.
Context& BlockRunner::run_until_wait() {
  Fiber* self = threads_[current_].fiber;
  while (true) {
    threads_[current_].state = State::running;
    (*body_)();
    finish_thread();
    idle_.push_back(self);
    if (finished_ == count_) return outside_;
    make_current(next_thread());  // takes the fiber made idle last
    if (threads_[current_].fiber != self) return *threads_[current_].fiber;
  }
}

Fiber* BlockRunner::idle_fiber() {
  if (idle_.empty()) {
    const auto work = [this]() -> Context& { return run_until_wait(); };
    fibers_.push_back(std::make_unique<Fiber>(work));
    return fibers_.back().get();
  }
  Fiber* fiber = idle_.back();
  idle_.pop_back();
  return fiber;
}

void BlockRunner::finish_thread() {
  Thread& self = threads_[current_];
  Warp& warp = warps_[current_ / warp_size];
  if (in_barrier_ > 0) report("ends while " + describe(first_in_barrier_));
  self.state = State::finished;
  warp.finished |= 1u << current_ % warp_size;
  ++finished_;
  for (unsigned lanes = warp.in_operation; lanes != 0; lanes &= lanes - 1) {
    const unsigned other =
        current_ / warp_size * warp_size + static_cast<unsigned>(std::countr_zero(lanes));
    if (threads_[other].mask >> current_ % warp_size & 1) report("ends while " + describe(other));
  }
}

void BlockRunner::wait() {
  Fiber* self = threads_[current_].fiber;
  make_current(next_thread());
  Fiber* next = threads_[current_].fiber;
  if (next != self) self->switch_to(*next);
}

void BlockRunner::release(unsigned thread) {
  threads_[thread].state = State::running;
  ready_.add(position_of_[thread]);
}

int BlockRunner::block_barrier(bool predicate, const Where& where) {
  const unsigned thread = current_;
  Thread& self = threads_[thread];
  if (finished_ > 0) {
    const auto ended = std::find_if(threads_.begin(), threads_.end(), [](const Thread& other) {
      return other.state == State::finished;
    });
    report("waits at the barrier " + name_of(where) + ", but thread " +
           std::to_string(ended - threads_.begin()) + " has ended");
  }
  self.where = where;
  self.state = State::in_barrier;
  if (in_barrier_ == 0) {
    first_in_barrier_ = thread;
  } else if (threads_[first_in_barrier_].where.line() != where.line()) {
    report("waits at the barrier " + name_of(where) + " while " + describe(first_in_barrier_));
  }
  predicates_ += predicate ? 1 : 0;
  warps_[thread / warp_size].in_barrier |= 1u << thread % warp_size;
  if (++in_barrier_ == count_) {
    for (Warp& warp : warps_) warp.in_barrier = 0;
    for (unsigned other = 0; other < count_; ++other) {
      threads_[other].result = predicates_;
      release(other);
    }
    in_barrier_ = predicates_ = 0;
  }
  wait();
  return static_cast<int>(self.result);
}

uint64_t BlockRunner::warp_operation(WarpKind kind, unsigned mask, uint64_t value, int source,
                                     const Where& where) {
  const unsigned thread = current_, warp = thread / warp_size;
  Thread& self = threads_[thread];
  self.kind = kind;
  self.mask = mask;
  self.value = value;
  self.source = source;
  self.where = where;
  check_arrival(warp, mask, self);
  self.state = State::in_warp;
  warps_[warp].in_operation |= 1u << thread % warp_size;
  if ((warps_[warp].in_operation & mask) == mask) complete(warp, mask);
  wait();
  return self.result;
}

void BlockRunner::check_arrival(unsigned warp_index, unsigned mask, const Thread& self) {
  const Warp& warp = warps_[warp_index];
  const auto thread_of = [&](unsigned lanes) {
    return warp_index * warp_size + static_cast<unsigned>(std::countr_zero(lanes));
  };
  const auto at = [&] { return name_of(self.where); };
  if ((mask >> current_ % warp_size & 1) == 0) {
    report("is not in the mask that it gives at " + at());
  }
  if ((mask & ~warp.exists) != 0) {
    report("names at " + at() + " a lane that the block does not have: thread " +
           std::to_string(thread_of(mask & ~warp.exists)));
  }
  if ((mask & warp.finished) != 0) {
    report("names at " + at() + " a lane that has ended: thread " +
           std::to_string(thread_of(mask & warp.finished)));
  }
  // Lanes that wait for others than this one may yet come here.
  for (unsigned lanes = mask & warp.in_operation; lanes != 0; lanes &= lanes - 1) {
    const Thread& other = threads_[thread_of(lanes)];
    const bool same_place =
        self.kind == WarpKind::synchronize || other.where.line() == self.where.line();
    if (other.mask == mask && other.kind == self.kind && same_place) return;
    if ((other.mask >> current_ % warp_size & 1) == 0) continue;
    report("is at " + at() + " with mask " + std::to_string(mask) + " while " +
           describe(thread_of(lanes)));
  }
}

uint64_t BlockRunner::result_of(unsigned warp, unsigned mask, unsigned lane) const {
  const Thread* lanes = &threads_[warp * warp_size];
  const Thread& self = lanes[lane];
  uint64_t result = 0;
  switch (self.kind) {
    case WarpKind::synchronize:
      return 0;
    case WarpKind::shuffle:
      if ((mask >> self.source & 1) == 0) {
        report("at " + name_of(self.where) + " thread " + std::to_string(warp * warp_size + lane) +
               " reads lane " + std::to_string(self.source) + ", which is not in the mask");
      }
      return lanes[self.source].value;
    case WarpKind::ballot:
    case WarpKind::match:
      for (unsigned other = 0; other < warp_size; ++other) {
        if ((mask >> other & 1) == 0) continue;
        const bool set = self.kind == WarpKind::ballot ? lanes[other].value != 0
                                                       : lanes[other].value == self.value;
        if (set) result |= uint64_t{1} << other;
      }
      return result;
  }
  return result;
}

void BlockRunner::complete(unsigned warp, unsigned mask) {
  for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) {
    const auto lane = static_cast<unsigned>(std::countr_zero(lanes));
    if (threads_[warp * warp_size + lane].mask != mask) return;
  }
  for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) {
    const auto lane = static_cast<unsigned>(std::countr_zero(lanes));
    threads_[warp * warp_size + lane].result = result_of(warp, mask, lane);
  }
  warps_[warp].in_operation &= ~mask;
  for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) {
    release(warp * warp_size + static_cast<unsigned>(std::countr_zero(lanes)));
  }
}

unsigned BlockRunner::lanes_not_finished() const {
  const Warp& warp = warps_[current_ / warp_size];
  return warp.exists & ~warp.finished;
}

std::string BlockRunner::describe(unsigned thread) const {
  const Thread& other = threads_[thread];
  std::string text = "thread " + std::to_string(thread);
  if (other.state == State::in_barrier)
    return text + " waits at the barrier " + name_of(other.where);
  if (other.state == State::in_warp) {
    return text + " waits for the lanes in mask " + std::to_string(other.mask) + " at " +
           name_of(other.where);
  }
  return text + (other.state == State::finished ? " has ended" : " has not begun");
}

void BlockRunner::report_deadlock() {
  std::string text = "no thread can go on: ";
  const Thread* last = nullptr;
  int shown = 0;
  for (unsigned thread = 0; thread < count_ && shown < 8; ++thread) {
    const Thread& self = threads_[thread];
    if (last != nullptr && last->state == self.state && last->mask == self.mask &&
        last->where.line() == self.where.line()) {
      continue;
    }
    text += (shown++ == 0 ? "" : "; ") + describe(thread);
    last = &self;
  }
  report(text);
}

int block_barrier(bool predicate, const Where& where) {
  return block_runner().block_barrier(predicate, where);
}

uint64_t warp_operation(WarpKind kind, unsigned mask, uint64_t value, int source,
                        const Where& where) {
  return block_runner().warp_operation(kind, mask, value, source, where);
}

unsigned lane() { return here.thread.x % warp_size; }

unsigned lanes_not_finished() { return block_runner().lanes_not_finished(); }

}  // namespace emulated
