#include "core/error.h"

#include <utility>

namespace switchyard {

namespace {
thread_local std::string label_of_thread;
}

void set_thread_label(std::string label) { label_of_thread = std::move(label); }

const std::string& thread_label() { return label_of_thread; }

void throw_error(std::string_view where, const std::string& what) {
  if (label_of_thread.empty()) throw Error(fmt::format("[{}] {}", where, what));
  throw Error(fmt::format("[{}] {} ({})", where, what, label_of_thread));
}

}  // namespace switchyard
