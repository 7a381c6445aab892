#pragma once

#include <condition_variable>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "parallel/comm/rendezvous/tcp_socket.h"

namespace switchyard {

// What rank 0 of a TCP store runs: answers "set" and "get" of every connection, a get once its key
// is set. Throws Error where the port is taken.
class StoreServer {
 public:
  explicit StoreServer(int port);
  ~StoreServer();  // waits a little for the others to close, then closes

  static constexpr const char* greeting = "switchyard store 1";

 private:
  void accept_all();
  void serve(const TcpSocket& connection);
  bool answer(const TcpSocket& connection);

  TcpSocket listening_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::string> values_;
  std::list<TcpSocket> connections_;
  std::list<std::thread> servers_;
  int open_ = 0;
  bool stop_ = false;
  std::thread accepting_;
};

}  // namespace switchyard
