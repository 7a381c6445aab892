#include "launch/campaign/news_wait.h"

#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "core/stop_signal.h"

namespace switchyard {

bool NewsWait::wait(const std::vector<int>& descriptors,
                    std::chrono::steady_clock::time_point end) {
  std::vector<pollfd> watched;
  watched.reserve(descriptors.size());
  for (const int each : descriptors)
    watched.push_back({.fd = each, .events = POLLIN, .revents = 0});
  // None comes between the look at the flag and the wait.
  sigset_t stops, before;
  sigemptyset(&stops);
  for (const int signal : {SIGUSR1, SIGTERM, SIGINT}) sigaddset(&stops, signal);
  pthread_sigmask(SIG_BLOCK, &stops, &before);
  const bool is_news = StopSignal::requested() && !knows_of_stop_;
  knows_of_stop_ |= is_news;
  using std::chrono::nanoseconds;
  const nanoseconds left = end - std::chrono::steady_clock::now();
  constexpr int64_t second = 1'000'000'000;
  const int64_t count = std::max<int64_t>(0, left.count());
  const timespec patience{.tv_sec = count / second, .tv_nsec = count % second};
  const bool interrupted =
      is_news || (ppoll(watched.data(), watched.size(), &patience, &before) < 0 && errno == EINTR);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return !interrupted;
}

}  // namespace switchyard
