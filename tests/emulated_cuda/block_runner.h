#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/emulated_cuda/block.h"
#include "tests/emulated_cuda/fibers.h"
#include "tests/emulated_cuda/shared_variables.h"

namespace emulated {

enum class Order : uint8_t { ascending, descending, shuffled };

// The positions, in the order of running, of threads that may run.
class ReadySet {
 public:
  static constexpr unsigned none = ~0u;
  void fill(unsigned count);
  void add(unsigned position) { words_[position / 64] |= uint64_t{1} << position % 64; }
  unsigned take_first();

 private:
  std::array<uint64_t, 16> words_{};
};

// Runs the threads of one block after another, on one host thread. Each runs until it waits or
// ends; then the first in the order that can run goes on, so that some threads get as far ahead of
// the others as the program's barriers let them.
class BlockRunner {
 public:
  BlockRunner();
  ~BlockRunner();

  void prepare(dim3 threads, dim3 blocks, size_t shared_bytes, const std::function<void()>* body,
               const char* name);
  void run(uint3 block, Order order, uint64_t seed);

  int block_barrier(bool predicate, const Where& where);
  uint64_t warp_operation(WarpKind kind, unsigned mask, uint64_t value, int source,
                          const Where& where);
  unsigned current() const { return current_; }
  unsigned lanes_not_finished() const;

 private:
  enum class State : uint8_t { unstarted, running, in_warp, in_barrier, finished };
  struct Thread {
    State state = State::unstarted;
    WarpKind kind = WarpKind::synchronize;
    bool predicate = false;
    unsigned mask = 0;
    int source = 0;
    uint64_t value = 0, result = 0;
    Where where;
    Fiber* fiber = nullptr;
  };
  struct Warp {
    unsigned exists = 0, finished = 0, in_barrier = 0, in_operation = 0;
  };

  void arrange(Order order, uint64_t seed);
  void run_threads();
  void finish_thread();
  Context& run_until_wait();
  unsigned next_thread();
  void make_current(unsigned thread);
  void wait();
  void release(unsigned thread);
  void check_arrival(unsigned warp, unsigned mask, const Thread& self);
  void complete(unsigned warp, unsigned mask);
  uint64_t result_of(unsigned warp, unsigned mask, unsigned lane) const;
  std::string describe(unsigned thread) const;
  [[noreturn]] void report_deadlock();
  Fiber* idle_fiber();

  const std::function<void()>* body_ = nullptr;
  unsigned count_ = 0, current_ = 0, finished_ = 0;
  unsigned in_barrier_ = 0, predicates_ = 0, first_in_barrier_ = 0;
  size_t shared_bytes_ = 0;
  char* shared_end_ = nullptr;
  SharedVariables shared_variables_;
  ReadySet ready_;
  std::vector<Thread> threads_;
  std::array<Warp, 32> warps_{};
  std::vector<unsigned> thread_at_, position_of_, shuffled_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  Context outside_;
};

// This host thread's.
BlockRunner& block_runner();

}  // namespace emulated
