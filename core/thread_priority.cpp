#include "core/thread_priority.h"

#include <sys/resource.h>

#include <algorithm>
#include <cerrno>

namespace switchyard {

// On Linux a thread has a nice level of its own, which "process 0" means.
void give_way() {
  constexpr int levels = 10, lowest = 19;
  errno = 0;
  const int now = getpriority(PRIO_PROCESS, 0);
  if (errno == 0) setpriority(PRIO_PROCESS, 0, std::min(now + levels, lowest));
}

}  // namespace switchyard
