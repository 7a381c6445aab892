#include "parallel/comm/rendezvous/store_server.h"

#include <sys/resource.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace switchyard {

namespace {

// A thousand ranks have more connections than a process may open at first.
void allow_many_connections() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

StoreServer::StoreServer(int port) : listening_(listen_tcp(port)) {
  check(static_cast<bool>(listening_), "store", "rank 0 cannot listen on port {}: {}", port,
        std::strerror(errno));
  allow_many_connections();
  accepting_ = std::thread([this] { accept_all(); });
}

void StoreServer::await_ends(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  ended_.wait_for(lock, timeout, [&] { return open_ == 0; });
}

StoreServer::~StoreServer() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    for (const TcpSocket& connection : connections_) connection.shut_down();
    wake_all();
  }
  listening_.shut_down();
  accepting_.join();
  for (std::thread& server : servers_) server.join();
}

void StoreServer::wake_all() {
  for (auto& [key, entry] : entries_) entry.is_set.notify_all();
}

void StoreServer::accept_all() {
  for (;;) {
    TcpSocket connection(::accept4(listening_.descriptor(), nullptr, nullptr, SOCK_CLOEXEC));
    const std::lock_guard lock(mutex_);
    if (stop_) return;
    if (!connection) continue;
    keep_alive(connection);
    connections_.push_back(std::move(connection));
    servers_.emplace_back([this, &served = connections_.back()] { serve(served); });
  }
}

void StoreServer::serve(const TcpSocket& connection) {
  std::string hello, rank;
  if (!connection.read_text(hello) || hello != greeting || !connection.read_text(rank))
    return connection.shut_down();
  {
    const std::lock_guard lock(mutex_);
    ++open_;
  }
  std::string verb;
  while (connection.read_text(verb) && verb != farewell && answer(connection, verb)) {
  }
  connection.shut_down();
  const std::lock_guard lock(mutex_);
  if (verb != farewell && gone_.empty()) gone_ = rank;
  --open_;
  ended_.notify_all();
  wake_all();
}

bool StoreServer::answer(const TcpSocket& connection, const std::string& verb) {
  std::string key, value;
  if (!connection.read_text(key)) return false;
  if (verb == "set") {
    if (!connection.read_text(value)) return false;
    return connection.write_text(set(key, std::move(value)) ? done : exists);
  }
  const auto found = read(key, verb == "take");
  if (found) return connection.write_text(done) && connection.write_text(*found);
  const std::unique_lock lock(mutex_);
  return !stop_ && connection.write_text(lost) && connection.write_text(gone_);
}

bool StoreServer::set(const std::string& key, std::string value) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[key];
  if (entry.value) return false;
  entry.value = std::move(value);
  entry.is_set.notify_all();
  return true;
}

// Where a rank is lost, a launcher gets a moment to end the others with that one's exit code.
std::optional<std::string> StoreServer::read(const std::string& key, bool removes) {
  constexpr auto moment = std::chrono::seconds(2);
  std::unique_lock lock(mutex_);
  Entry& entry = entries_[key];
  ++entry.waiting;
  const auto is_set = [&] { return stop_ || entry.value; };
  entry.is_set.wait(lock, [&] { return is_set() || !gone_.empty(); });
  entry.is_set.wait_for(lock, moment, is_set);
  --entry.waiting;
  std::optional<std::string> value = entry.value;
  if (removes) entry.value.reset();
  if (!entry.value && entry.waiting == 0) entries_.erase(key);
  return value;
}

}  // namespace switchyard
