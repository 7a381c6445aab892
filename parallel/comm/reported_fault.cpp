#include "parallel/comm/reported_fault.h"

#include <mutex>

namespace switchyard {

namespace {

std::mutex mutex;
std::string first;  // guarded by it

}  // namespace

std::string reported_before(const std::string& text) {
  const std::lock_guard lock(mutex);
  if (!first.empty()) return first;
  first = text;
  return {};
}

void forget_reported() {
  const std::lock_guard lock(mutex);
  first.clear();
}

bool is_reported(std::string_view text) {
  const std::lock_guard lock(mutex);
  return !first.empty() && text.find(first) != std::string_view::npos;
}

}  // namespace switchyard
