#include "core/logging.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "core/error.h"

namespace switchyard::log {

namespace {

spdlog::level::level_enum translate(Level level) {
  switch (level) {
    case Level::debug:
      return spdlog::level::debug;
    case Level::info:
      return spdlog::level::info;
    case Level::warning:
      return spdlog::level::warn;
    case Level::error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

spdlog::logger& logger() {
  static const auto instance = [] {
    auto made = spdlog::stderr_color_mt("switchyard");
    made->set_pattern("[%H:%M:%S %^%l%$] %v");
    return made;
  }();
  return *instance;
}

}  // namespace

void set_level(Level lowest) { logger().set_level(translate(lowest)); }

void write(Level level, std::string_view message) {
  const auto& label = thread_label();
  if (label.empty()) {
    logger().log(translate(level), "{}", message);
  } else {
    logger().log(translate(level), "{} ({})", message, label);
  }
}

}  // namespace switchyard::log
