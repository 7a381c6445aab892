#pragma once

#include <condition_variable>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "parallel/comm/communicators.h"
#include "parallel/comm/operation.h"
#include "parallel/comm/thread/mover.h"

// How ranks that are threads meet: every operation is one Exchange that all its sides join.
namespace switchyard {

class Exchange;

// What all threads share. The one mutex guards everything here and in the groups and exchanges,
// except while an exchange is carried out.
struct ThreadWorld : std::enable_shared_from_this<ThreadWorld> {
  ThreadWorld(int ranks, const ThreadRanksOptions& given)
      : options(given), ended(static_cast<size_t>(ranks)), waits_in(ended.size()) {}
  void fail_with(std::exception_ptr error, const std::string& text);
  Mover& mover(Device device);  // made at the first use; the mutex is held

  const ThreadRanksOptions options;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<bool> ended;                // whose body has returned, by world rank
  std::vector<const Exchange*> waits_in;  // by world rank
  std::exception_ptr error;               // the first of any rank
  std::string failure;                    // its text, with the rank
  std::unique_ptr<Mover> movers[2];       // of each device
};

struct ThreadGroup;

// What a rank asks of a split, and what it gets.
struct ThreadSplit {
  int color = -1;
  int key = 0;
  std::string name{};
  std::shared_ptr<ThreadGroup> group{};  // of the members with this color; null for a negative one
  int rank = 0;                          // in that group
};

// One operation and its sides: all ranks of a group, or sender (0) and receiver (1). It is carried
// out by the last side to join, or in the test mode by the first to wait once all have joined. On a
// GPU "carried out" means queued there.
class Exchange {
 public:
  Exchange(ThreadWorld& world, std::vector<int> world_ranks);
  ~Exchange();
  // Throws Error, naming both, when the operation does not match that of an earlier side.
  void join(size_t side, const Member& member, const Operation& operation, Stream& stream,
            ThreadSplit split = {});
  void wait(size_t side, Stream& stream);
  // The side's handle has gone without a wait: its buffers may be gone too.
  void abandon(size_t side);
  const ThreadSplit& split(size_t side) const { return sides_[side].split; }

 private:
  struct Side {
    int world_rank = 0;
    bool joined = false, delivered = false, abandoned = false;
    Member member;
    Operation operation;
    ThreadSplit split;
    Memory stash;                   // input that the test mode has poisoned in place
    int64_t offset = 0, bytes = 0;  // of its result in results_
  };
  using Lock = std::unique_lock<std::mutex>;

  void check_match(const Side& newcomer) const;
  void poison(Side& side);
  void claim_and_execute(Lock& lock);
  void await(Lock& lock, size_t side, const bool& condition);
  std::string why_hopeless() const;     // empty while it may still be joined by all
  std::vector<int> not_joined() const;  // world ranks
  std::string missing() const;
  void execute();
  const void* part(size_t from, size_t to, int64_t bytes) const;
  std::byte* make_results(int64_t bytes);
  void reduce(bool scatter);
  void gather();
  void exchange_parts();
  void copy_from(size_t root);
  void make_groups();
  void deliver(Side& side);

  ThreadWorld& world_;
  std::vector<Side> sides_;
  size_t joined_ = 0;
  bool complete_ = false, claimed_ = false, executed_ = false;
  Mover* mover_ = nullptr;  // of the device that the buffers lie on
  Memory results_;
};

struct ThreadGroup {
  // (sender, receiver, number) of a message; (-1, -1, number) of a collective.
  using Key = std::tuple<int, int, uint64_t>;
  std::shared_ptr<ThreadWorld> world{};
  std::string name{};
  std::vector<int> world_ranks{};
  struct Open {
    std::shared_ptr<Exchange> exchange;
    size_t met = 0;  // sides that have found it
  };
  std::map<Key, Open> open{};  // not yet found by all sides
};

// Sleeps for a random time in the test mode.
void delay_at_random(const ThreadWorld& world, int world_rank);

}  // namespace switchyard
