#pragma once

#include <chrono>
#include <condition_variable>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "parallel/comm/rendezvous/tcp_socket.h"

namespace switchyard {

// What rank 0 of a TCP store runs: answers "set", "get" and "take" of every connection, the latter
// two once their key is set, or once a rank is lost that may have had to set it. Throws Error where
// the port is taken.
class StoreServer {
 public:
  explicit StoreServer(int port);
  ~StoreServer();
  // Until all ranks have closed their connections.
  void await_ends(std::chrono::milliseconds timeout);

  // A connection begins with this and its rank's name; without the other word it has been lost.
  static constexpr const char *greeting = "switchyard store 2", *farewell = "end";
  // First word of an answer; the value or what has happened follows.
  static constexpr const char *done = "done", *exists = "exists", *lost = "lost";

 private:
  // A value, or those that wait for it. Each key has its own, so that one wakes none of the others.
  struct Entry {
    std::optional<std::string> value;
    std::condition_variable is_set;
    int waiting = 0;
  };

  void accept_all();
  void serve(const TcpSocket& connection);
  bool answer(const TcpSocket& connection, const std::string& verb);
  bool set(const std::string& key, std::string value);
  std::optional<std::string> read(const std::string& key, bool removes);
  void wake_all();

  TcpSocket listening_;
  std::mutex mutex_;
  std::condition_variable ended_;
  std::map<std::string, Entry> entries_;
  std::list<TcpSocket> connections_;
  std::list<std::thread> servers_;
  int open_ = 0;      // connections of ranks
  std::string gone_;  // the first rank that was lost
  bool stop_ = false;
  std::thread accepting_;
};

}  // namespace switchyard
