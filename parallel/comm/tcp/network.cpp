#include "parallel/comm/tcp/network.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace switchyard {

using namespace std::chrono_literals;

TcpNetwork::TcpNetwork(int world_rank, std::vector<TcpPeer> peers)
    : world_rank_(world_rank),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      waker_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      gone_(peers.size()) {
  check(epoll_ >= 0 && waker_ >= 0, "tcp", "rank {} gets no epoll: {}", world_rank,
        std::strerror(errno));
  epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
  ::epoll_ctl(epoll_, EPOLL_CTL_ADD, waker_, &event);
  LinkEvents& events = *this;
  for (size_t i = 0; i < peers.size(); ++i) {
    auto& link = links_.emplace_back();
    if (!peers[i].socket) continue;
    link = std::make_unique<TcpLink>(static_cast<int>(i), std::move(peers[i]), events);
    event.data.ptr = link.get();
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, link->descriptor(), &event);
  }
  thread_ = std::thread([this] { drive_while_nobody_waits(); });
}

TcpNetwork::~TcpNetwork() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    wanted_.notify_all();
  }
  wake();
  thread_.join();
  ::close(epoll_);
  ::close(waker_);
}

void TcpNetwork::wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(waker_, &one, sizeof one);
}

void TcpNetwork::start(std::shared_ptr<TcpTask> task) {
  Lock lock(mutex_);
  ++outstanding_;
  background_ += task->in_background();
  incoming_.push_back(std::move(task));
  if (driving_) return wake();
  if (frozen_) return;
  driving_ = true;
  lock.unlock();
  begin_tasks();
  lock.lock();
  driving_ = false;
  if (waiting_ > 0 || holding_ > 0) changed_.notify_all();
  if (background_ > 0 && waiting_ == 0) wanted_.notify_one();
}

template <class Condition>
bool TcpNetwork::drive_until(const Condition& reached, std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  Lock lock(mutex_);
  ++waiting_;
  if (driving_) wake();  // the network's thread steps back
  bool in_time = true;
  while (!reached() && in_time && !frozen_) {
    if (driving_ || holding_ > 0) {
      changed_.wait_until(lock, deadline);
    } else {
      driving_ = true;
      lock.unlock();
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
      turn(std::clamp<std::chrono::milliseconds>(left, 0ms, 1000ms), reached);
      lock.lock();
      driving_ = false;
      if (waiting_ > 1 || holding_ > 0) changed_.notify_all();
    }
    in_time = Clock::now() < deadline;
  }
  --waiting_;
  if (waiting_ == 0 && background_ > 0) wanted_.notify_one();
  return reached();
}

bool TcpNetwork::wait(const TcpTask& task, std::chrono::milliseconds timeout) {
  return task.finished() || drive_until([&] { return task.finished(); }, timeout);
}

void TcpNetwork::hold(const std::function<void()>& look) {
  Lock lock(mutex_);
  ++holding_;
  if (driving_) wake();
  changed_.wait(lock, [&] { return !driving_; });
  look();
  --holding_;
  changed_.notify_all();
  if (waiting_ == 0 && background_ > 0) wanted_.notify_one();
}

void TcpNetwork::give_up() {
  hold([&] { frozen_ = true; });
}

bool TcpNetwork::drain(std::chrono::milliseconds timeout) {
  return drive_until([&] { return outstanding_ == 0 || frozen_; }, timeout);
}

void TcpNetwork::end_in_order(std::chrono::milliseconds timeout) {
  const auto each_link = [&](auto f) {
    for (const auto& link : links_)
      if (link && link->open()) f(*link);
  };
  // The network's thread drives no more, as nothing is outstanding.
  hold([&] {
    each_link([&](TcpLink& link) {
      link.say({.kind = FrameKind::end});
      to_write_.push_back(&link);
    });
    flush();
  });
  const auto all_have_ended = [&] {
    bool all = true;
    each_link([&](const TcpLink& link) { all = all && link.ended() && !link.wants_to_write(); });
    return all;
  };
  drive_until(all_have_ended, timeout);
}

void TcpNetwork::drive_while_nobody_waits() {
  Lock lock(mutex_);
  for (;;) {
    wanted_.wait(lock, [&] {
      return stop_ || (background_ > 0 && waiting_ == 0 && holding_ == 0 && !driving_ && !frozen_);
    });
    if (stop_) return;
    driving_ = true;
    lock.unlock();
    turn(1000ms, [] { return false; });
    lock.lock();
    driving_ = false;
    if (waiting_ > 0 || holding_ > 0) changed_.notify_all();
  }
}

template <class Condition>
void TcpNetwork::turn(std::chrono::milliseconds patience, const Condition& enough) {
  begin_tasks();
  copy_messages();
  if (enough()) return;
  take_events(patience);
  go_on_with_tasks();
}

void TcpNetwork::begin_tasks() {
  size_t begun = active_.size();
  {
    const std::lock_guard lock(mutex_);
    std::ranges::move(incoming_, std::back_inserter(active_));
    incoming_.clear();
  }
  for (; begun < active_.size(); ++begun) {
    TcpTask& task = *active_[begun];
    if (!failure_.empty()) {
      fail(task, failure_, failure_code_);
      continue;
    }
    task.post_all();
    if (task.open_ == 0) ready_.push_back(&task);
  }
  go_on_with_tasks();
}

// What is sent may end other tasks' messages, too.
void TcpNetwork::go_on_with_tasks() {
  flush();
  int finished = 0, of_background = 0;
  while (!ready_.empty()) {
    TcpTask& task = *ready_.front();
    ready_.pop_front();
    if (task.open_ > 0 || task.finished()) continue;
    task.go_on();
    flush();
  }
  std::erase_if(active_, [&](const auto& task) {
    if (!task->finished()) return false;
    ++finished;
    of_background += task->in_background();
    return true;
  });
  if (finished == 0) return;
  const std::lock_guard lock(mutex_);
  outstanding_ -= finished;
  background_ -= of_background;
  if (waiting_ > 0) changed_.notify_all();
}

// Takes as long as the memory does; so never while a task is started.
void TcpNetwork::copy_messages() {
  while (!to_copy_.empty()) {
    const Copy next = to_copy_.front();
    to_copy_.pop_front();
    next.link->copy(*next.message, next.offer);
    to_write_.push_back(next.link);
    go_on_with_tasks();
  }
}

void TcpNetwork::flush() {
  while (!to_write_.empty()) {
    TcpLink& link = *to_write_.back();
    to_write_.pop_back();
    if (!link.write()) {
      lose(link, errno);
      continue;
    }
    watch(link, link.wants_to_write());
  }
}

void TcpNetwork::watch(TcpLink& link, bool writing) {
  if (link.registered_for_writing == writing) return;
  link.registered_for_writing = writing;
  epoll_event event{.events = EPOLLIN | (writing ? EPOLLOUT : 0U), .data = {.ptr = &link}};
  ::epoll_ctl(epoll_, EPOLL_CTL_MOD, link.descriptor(), &event);
}

void TcpNetwork::take_events(std::chrono::milliseconds patience) {
  std::array<epoll_event, 64> events{};
  const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()),
                                 static_cast<int>(patience.count()));
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    if (event.data.ptr == nullptr) {
      uint64_t times = 0;
      [[maybe_unused]] const ssize_t got = ::read(waker_, &times, sizeof times);
      continue;
    }
    auto& link = *static_cast<TcpLink*>(event.data.ptr);
    if ((event.events & ~static_cast<uint32_t>(EPOLLOUT)) != 0 && !link.read()) {
      lose(link, errno);
      continue;
    }
    if (link.wants_to_write()) to_write_.push_back(&link);
  }
}

}  // namespace switchyard
