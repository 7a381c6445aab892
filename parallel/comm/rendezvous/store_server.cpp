#include "parallel/comm/rendezvous/store_server.h"

#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "core/error.h"

namespace switchyard {

StoreServer::StoreServer(int port) : listening_(listen_tcp(port)) {
  check(static_cast<bool>(listening_), "store", "rank 0 cannot listen on port {}: {}", port,
        std::strerror(errno));
  accepting_ = std::thread([this] { accept_all(); });
}

StoreServer::~StoreServer() {
  {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(2), [&] { return open_ == 0; });
    stop_ = true;
    for (const TcpSocket& connection : connections_) connection.shut_down();
    changed_.notify_all();
  }
  listening_.shut_down();
  accepting_.join();
  for (std::thread& server : servers_) server.join();
}

void StoreServer::accept_all() {
  for (;;) {
    TcpSocket connection(::accept4(listening_.descriptor(), nullptr, nullptr, SOCK_CLOEXEC));
    const std::lock_guard lock(mutex_);
    if (stop_) return;
    if (!connection) continue;
    ++open_;
    connections_.push_back(std::move(connection));
    servers_.emplace_back([this, &served = connections_.back()] { serve(served); });
  }
}

void StoreServer::serve(const TcpSocket& connection) {
  std::string hello;
  if (connection.read_text(hello) && hello == greeting)
    while (answer(connection)) {
    }
  connection.shut_down();
  const std::lock_guard lock(mutex_);
  --open_;
  changed_.notify_all();
}

bool StoreServer::answer(const TcpSocket& connection) {
  std::string verb, key, value;
  if (!connection.read_text(verb) || !connection.read_text(key)) return false;
  if (verb == "set") {
    if (!connection.read_text(value)) return false;
    const std::lock_guard lock(mutex_);
    const bool is_new = values_.emplace(key, value).second;
    changed_.notify_all();
    return connection.write_text(is_new ? "done" : "exists");
  }
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return stop_ || values_.contains(key); });
  if (stop_) return false;
  value = values_[key];
  lock.unlock();
  return connection.write_text(value);
}

}  // namespace switchyard
