#include "parallel/comm/rendezvous/store_server.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "core/error.h"
#include "core/logging.h"
#include "parallel/comm/rendezvous/job_identity.h"

namespace switchyard {

using namespace std::chrono_literals;

namespace {

// Where a rank is lost, a launcher gets a moment to end the others with that one's exit code.
constexpr auto moment = 2s;
// Open files may come free again, as where the whole machine has none left.
constexpr auto patience_when_full = 3s;

std::string process_text(const std::string& host, const std::string& process) {
  return fmt::format("process {} on {}", process, host);
}

void add_to(int epoll, int descriptor, void* what) {
  epoll_event event{.events = EPOLLIN, .data = {.ptr = what}};
  ::epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event);
}

}  // namespace

StoreServer::StoreServer(int port, int size)
    : size_(std::to_string(size)),
      processes_{{"0", process_text(job_identity().host, std::to_string(::getpid()))}},
      listening_(listen_tcp(port)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      waker_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  check(static_cast<bool>(listening_), "store", "rank 0 cannot listen on port {}: {}", port,
        std::strerror(errno));
  listening_.never_block();
  add_to(epoll_, listening_.descriptor(), &listening_);
  add_to(epoll_, waker_, nullptr);
  thread_ = std::thread([this] { serve_all(); });
}

void StoreServer::await_ends(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  ended_.wait_for(lock, timeout, [&] { return open_ == 0; });
}

StoreServer::~StoreServer() {
  stop_ = true;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(waker_, &one, sizeof one);
  thread_.join();
  ::close(epoll_);
  ::close(waker_);
}

void StoreServer::serve_all() {
  std::array<epoll_event, 256> events{};
  while (!stop_) {
    const int count =
        ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), patience());
    for (int i = 0; i < count && !stop_; ++i) {
      void* what = events[static_cast<size_t>(i)].data.ptr;
      if (what == nullptr) continue;
      if (what == &listening_) {
        accept_all();
        continue;
      }
      auto& connection = *static_cast<StoreConnection*>(what);
      if (!serve(connection, events[static_cast<size_t>(i)].events)) close(connection);
    }
    answer_those_that_wait_in_vain();
    if (accept_again_ != Clock::time_point() && Clock::now() >= accept_again_) {
      accept_again_ = {};
      accept_all();
    }
  }
}

int StoreServer::patience() const {
  constexpr int turn = 100;
  return gone_.empty() && accept_again_ == Clock::time_point() ? -1 : turn;
}

void StoreServer::accept_all() {
  for (;;) {
    TcpSocket connection(::accept4(listening_.descriptor(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection) break;
    full_since_ = {};
    StoreConnection& added = connections_.emplace_back(std::move(connection));
    added.place = std::prev(connections_.end());
    add_to(epoll_, added.descriptor(), &added);
  }
  const int why = errno;
  const bool full = why == EMFILE || why == ENFILE || why == ENOBUFS || why == ENOMEM;
  epoll_event event{.events = full ? 0U : EPOLLIN, .data = {.ptr = &listening_}};
  ::epoll_ctl(epoll_, EPOLL_CTL_MOD, listening_.descriptor(), &event);
  if (full) return wait_for_descriptors(std::strerror(why));
  full_since_ = {};
}

// Where ranks stay outside, those that are here would wait for them for nothing.
void StoreServer::wait_for_descriptors(const char* why) {
  const auto now = Clock::now();
  accept_again_ = now + 100ms;
  if (full_since_ == Clock::time_point()) full_since_ = now;
  if (!said_full_)
    log::error(
        "the store has {} connections and gets no more ({}); more ranks need more open "
        "files on rank 0's machine: ulimit -Hn, or LimitNOFILE of the launcher's service",
        connections_.size(), why);
  said_full_ = true;
  const bool all_came = std::to_string(processes_.size()) == size_;
  if (all_came || !gone_.empty() || now < full_since_ + patience_when_full) return;
  gone_ = fmt::format("a rank for which rank 0 has no open file left ({})", why);
  gone_since_ = now;
}

void StoreServer::watch(const StoreConnection& connection) const {
  const bool writing = connection.wants_to_write();
  epoll_event event{.events = EPOLLIN | (writing ? EPOLLOUT : 0U),
                    .data = {.ptr = const_cast<StoreConnection*>(&connection)}};
  ::epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.descriptor(), &event);
}

bool StoreServer::serve(StoreConnection& connection, uint32_t events) {
  try {
    const bool here = (events & ~static_cast<uint32_t>(EPOLLOUT)) == 0 || connection.read();
    const bool goes_on = take_commands(connection) && here;
    const bool written = connection.write();
    if (written && connection.wants_to_write() != connection.watched_for_room) {
      connection.watched_for_room = connection.wants_to_write();
      watch(connection);
    }
    return goes_on && written;
  } catch (const Error&) {
    return false;  // a stranger, or nonsense
  }
}

// False where it has ended or is none of ours.
bool StoreServer::take_commands(StoreConnection& connection) {
  if (connection.rank.empty()) {
    if (const auto word = connection.peek(); word && *word != greeting) return false;
    if (!connection.is_refused && !greet(connection)) return true;
  }
  if (connection.is_refused) {
    connection.forget_input();
    return true;
  }
  while (const auto verb = connection.peek()) {
    connection.has_ended = *verb == farewell;
    if (connection.has_ended) return false;
    const bool sets = *verb == "set";
    auto words = connection.take(sets ? 3 : 2);
    if (!words) return true;
    if (sets)
      set(connection, (*words)[1], std::move((*words)[2]));
    else
      read(connection, (*words)[1], *verb == "take");
  }
  return true;
}

// False while its greeting has not come whole.
bool StoreServer::greet(StoreConnection& connection) {
  const auto hello = connection.take(5);
  if (!hello) return false;
  const std::string &rank = (*hello)[1], &size = (*hello)[2], &host = (*hello)[3];
  const std::string process = process_text(host, (*hello)[4]);
  const std::string who = fmt::format("rank {} of {} ({})", rank, size, process);
  if (size != size_)
    refuse(connection, fmt::format("{} is none of this job, whose rank 0 ({}) was told of {} ranks",
                                   who, processes_.at("0"), size_));
  else if (const auto& first = processes_.emplace(rank, process).first->second; first != process)
    refuse(connection, fmt::format("{} is there already: {}", who, first));
  if (connection.is_refused) return true;
  connection.rank = fmt::format("world rank {} on {}", rank, host);
  const std::lock_guard lock(mutex_);
  ++open_;
  return true;
}

// It stays open: to close it while more comes in could lose the answer.
void StoreServer::refuse(StoreConnection& connection, const std::string& why) const {
  log::error("{}; it is refused", why);
  connection.is_refused = true;
  connection.say(refused);
  connection.say(why);
}

void StoreServer::set(StoreConnection& connection, const std::string& key, std::string value) {
  Entry& entry = entries_[key];
  connection.say(entry.value ? exists : done);
  if (entry.value) return;
  entry.value = std::move(value);
  if (hand_out(entry)) entries_.erase(key);
}

void StoreServer::read(StoreConnection& connection, const std::string& key, bool removes) {
  Entry& entry = entries_[key];
  entry.waiters.push_back({.connection = &connection, .removes = removes, .since = Clock::now()});
  if (hand_out(entry)) entries_.erase(key);
}

// To all that wait, or up to the first that takes it; whether nothing is left to keep.
bool StoreServer::hand_out(Entry& entry) {
  while (entry.value && !entry.waiters.empty()) {
    const Waiter waiter = entry.waiters.front();
    entry.waiters.pop_front();
    waiter.connection->say(done);
    waiter.connection->say(*entry.value);
    if (waiter.removes) entry.value.reset();
    waiter.connection->write();  // where it is gone, its own event tells
    if (waiter.connection->wants_to_write()) {
      waiter.connection->watched_for_room = true;
      watch(*waiter.connection);
    }
  }
  return !entry.value && entry.waiters.empty();
}

void StoreServer::close(StoreConnection& connection) {
  const bool is_rank = !connection.rank.empty();
  if (is_rank && !connection.has_ended && gone_.empty()) {
    gone_ = connection.rank;
    gone_since_ = Clock::now();
  }
  for (auto& [key, entry] : entries_)
    std::erase_if(entry.waiters,
                  [&](const Waiter& waiter) { return waiter.connection == &connection; });
  forget_empty_entries();
  // A child that was forked and has not yet become another program has it open, too: then closing
  // alone does not end its events.
  ::epoll_ctl(epoll_, EPOLL_CTL_DEL, connection.descriptor(), nullptr);
  connections_.erase(connection.place);
  if (!is_rank) return;
  const std::lock_guard lock(mutex_);
  --open_;
  ended_.notify_all();
}

void StoreServer::answer_those_that_wait_in_vain() {
  if (gone_.empty()) return;
  const auto now = Clock::now();
  for (auto& [key, entry] : entries_) {
    auto& waiters = entry.waiters;
    while (!waiters.empty() && std::max(waiters.front().since, gone_since_) + moment <= now) {
      StoreConnection& connection = *waiters.front().connection;
      waiters.pop_front();
      connection.say(lost);
      connection.say(gone_);
      connection.write();
    }
  }
  forget_empty_entries();
}

void StoreServer::forget_empty_entries() {
  std::erase_if(entries_,
                [](const auto& each) { return !each.second.value && each.second.waiters.empty(); });
}

}  // namespace switchyard
