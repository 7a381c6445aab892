#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "parallel/comm/rendezvous/store_connection.h"
#include "parallel/comm/rendezvous/tcp_socket.h"

namespace switchyard {

// What rank 0 of a TCP store runs: one thread that answers "set", "get" and "take" of every
// connection, the latter two once their key is set, or once a rank is lost that may have had to set
// it. Throws Error where the port is taken.
class StoreServer {
 public:
  StoreServer(int port, int size);  // the latter: of the world
  ~StoreServer();
  // Until all ranks have closed their connections.
  void await_ends(std::chrono::milliseconds timeout);

  // A connection begins with this, its rank's number, how many ranks it was told of, its host and
  // process; without the other word it has been lost.
  static constexpr const char *greeting = "switchyard store 3", *farewell = "end";
  // First word of an answer; the value or what has happened follows.
  static constexpr const char *done = "done", *exists = "exists", *lost = "lost",
                              *refused = "refused";

 private:
  using Clock = std::chrono::steady_clock;
  // Who waits for a key, in the order in which they have asked.
  struct Waiter {
    StoreConnection* connection = nullptr;
    bool removes = false;
    Clock::time_point since{};
  };
  struct Entry {
    std::optional<std::string> value{};
    std::deque<Waiter> waiters{};
  };

  void serve_all();
  int patience() const;  // milliseconds
  void accept_all();
  void wait_for_descriptors(const char* why);
  void watch(const StoreConnection& connection) const;
  bool serve(StoreConnection& connection, uint32_t events);
  bool take_commands(StoreConnection& connection);
  bool greet(StoreConnection& connection);
  void refuse(StoreConnection& connection, const std::string& why) const;
  void set(StoreConnection& connection, const std::string& key, std::string value);
  void read(StoreConnection& connection, const std::string& key, bool removes);
  bool hand_out(Entry& entry);
  void close(StoreConnection& connection);
  void forget_empty_entries();
  void answer_those_that_wait_in_vain();

  const std::string size_;
  std::map<std::string, std::string> processes_;  // of ranks that have come, by rank
  TcpSocket listening_;
  int epoll_ = -1, waker_ = -1;
  std::list<StoreConnection> connections_;
  std::map<std::string, Entry> entries_;
  std::string gone_;  // the first rank that was lost
  Clock::time_point gone_since_{};
  Clock::time_point accept_again_{};  // where descriptors have run out
  Clock::time_point full_since_{};
  bool said_full_ = false;
  std::atomic<bool> stop_ = false;

  std::mutex mutex_;  // guards open_
  std::condition_variable ended_;
  int open_ = 0;  // connections of ranks
  std::thread thread_;
};

}  // namespace switchyard
