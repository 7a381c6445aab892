#include "core/logging.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>

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

std::atomic<bool> labelled{true};

// The level of whatever is not usual.
class UnusualLevel : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm& /*time*/,
              spdlog::memory_buf_t& to) override {
    if (message.level == spdlog::level::info) return;
    const auto name = spdlog::level::to_string_view(message.level);
    to.push_back(' ');
    to.append(name.data(), name.data() + name.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<UnusualLevel>();
  }
};

spdlog::logger& logger() {
  static const auto instance = [] {
    auto made = spdlog::stderr_color_mt("switchyard");
    auto formatter = std::make_unique<spdlog::pattern_formatter>();
    formatter->add_flag<UnusualLevel>('*').set_pattern("[%H:%M:%S%^%*%$] %v");
    made->set_formatter(std::move(formatter));
    return made;
  }();
  return *instance;
}

}  // namespace

void set_level(Level lowest) { logger().set_level(translate(lowest)); }

void show_label(bool wanted) { labelled = wanted; }

void write(Level level, std::string_view message) {
  const auto& label = thread_label();
  if (label.empty() || !labelled) {
    logger().log(translate(level), "{}", message);
  } else {
    logger().log(translate(level), "{} ({})", message, label);
  }
}

}  // namespace switchyard::log
