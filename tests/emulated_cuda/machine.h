#pragma once

#include <cuda_runtime_api.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <vector>

// Streams, events and the order in which queued work runs. Everything here wants the machine's
// lock, which is recursive.
namespace emulated {

struct Stream;
struct Capture;

// How far each stream of a capture has got, as numbers of items.
using Progress = std::map<const Stream*, uint64_t>;

// A point in a stream's work that events remember.
struct Mark {
  Stream* stream = nullptr;
  bool reached = false;
  std::chrono::steady_clock::time_point time;
  std::shared_ptr<Capture> capture;  // of a mark set while capturing: nothing reaches it
  Progress covers;
};

// Returns false where it cannot go on before another stream or host thread does; it is then called
// again.
using Work = std::function<bool()>;

struct Item {
  Work work;                      // empty: a mark or a wait
  std::shared_ptr<Mark> wait;     // runs after it is reached
  std::shared_ptr<Mark> reaches;  // set when done
  uint64_t number = 0;            // in the order of issue
  bool started = false;           // work that was called and has not ended
};

struct Stream {
  int device = 0;
  int priority = 0;
  bool blocking = true;  // ordered with the legacy default stream
  bool legacy = false;
  std::deque<Item> items;
  std::shared_ptr<Capture> capture;
};

// What was issued between the begin and the end of a capture, in the order of issue.
struct Capture {
  Stream* origin = nullptr;
  std::thread::id thread;  // that began it and alone may end it
  bool relaxed = false;
  bool ended = false;
  std::vector<Work> work;
  std::map<Stream*, Progress> streams;  // what the next item of each comes after
};

struct Event {
  bool timed = true;
  std::shared_ptr<Mark> last;  // of the youngest record; null before the first
};

class Machine {
 public:
  static Machine& get();
  std::recursive_mutex& mutex() { return mutex_; }

  Stream* make_stream(bool blocking, int priority);
  void destroy(Stream* stream);
  // Null where the handle is of no stream.
  Stream* find(cudaStream_t handle);
  Stream* legacy(int device);

  // At the end of a stream, or of the capture that it takes part in.
  void enqueue(Stream& stream, Work work);
  std::shared_ptr<Mark> enqueue_mark(Stream& stream);
  cudaError_t enqueue_wait(Stream& stream, const std::shared_ptr<Mark>& mark);

  // Run what has to run; the lock is held exactly once by the caller.
  void run_until(std::unique_lock<std::recursive_mutex>& lock, const std::shared_ptr<Mark>& mark);
  void run_all(std::unique_lock<std::recursive_mutex>& lock, Stream& stream);
  void run_all(std::unique_lock<std::recursive_mutex>& lock, int device);
  // What a blocking call without a stream is ordered with: the device's legacy stream.
  void run_legacy(std::unique_lock<std::recursive_mutex>& lock, int device);
  // Runs at most one item on the way to the mark.
  void step_towards(const std::shared_ptr<Mark>& mark);

  std::set<Event*> events;
  const std::set<Stream*>& streams() const { return streams_; }

 private:
  enum class Step : uint8_t { ran, stuck, empty };
  void push(Stream& stream, Item item);
  // With one connection to the device, which CUDA_DEVICE_MAX_CONNECTIONS=1 asks for, work and waits
  // of all streams start in the order of issue: what cannot start yet keeps back all that came
  // later. Marks keep back nothing.
  Stream* next_to_start(int device) const;
  Step step(Stream& stream);
  void run_some();
  void drive(std::unique_lock<std::recursive_mutex>& lock, const std::function<bool()>& done,
             const std::function<Step()>& next);
  bool step_elsewhere(std::minstd_rand* random = nullptr);
  std::vector<Stream*> in_order(int device) const;

  std::recursive_mutex mutex_;
  std::condition_variable_any changed_;
  std::set<Stream*> streams_;
  std::map<int, Stream*> legacy_;
  uint64_t issued_ = 0;
};

using Lock = std::unique_lock<std::recursive_mutex>;
inline Lock lock_machine() { return Lock(Machine::get().mutex()); }

// The device that this host thread works with, and how many there are.
int& current_device();
int device_count();

// Remembers an error for cudaGetLastError and returns it.
cudaError_t remember(cudaError_t status);

}  // namespace emulated
