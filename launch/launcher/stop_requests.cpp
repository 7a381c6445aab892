#include "launch/launcher/stop_requests.h"

#include <csignal>
#include <cstdio>
#include <cstring>

namespace switchyard {

bool StopRequests::take(int number, Clock::time_point now) {
  constexpr std::chrono::seconds same_request(2);
  if (count_ > 0 && number != SIGINT && now - last_ < same_request) return false;
  if (count_ == 0) first_ = number;
  ++count_;
  last_ = now;
  return true;
}

void mention_second(int number) {
  std::fprintf(stderr, "switchyard: [launch] %s: a second signal, ranks are ended at once\n",
               strsignal(number));
}

}  // namespace switchyard
