#include "core/host_waits.h"

#include <atomic>

namespace switchyard {

namespace {

std::atomic<int64_t> waits{0};

}  // namespace

int64_t host_waits() { return waits.load(); }

void count_host_wait() { waits.fetch_add(1); }

}  // namespace switchyard
