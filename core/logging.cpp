#include "core/logging.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>

#include "core/error.h"
#include "core/printable.h"

namespace switchyard::log {

namespace {

spdlog::level::level_enum translate(Level level) {
  switch (level) {
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

// The blank behind the last comma or semicolon of the line's second half, or the last one; behind a
// word that is longer than the line the first one.
size_t place_of_break(std::string_view message, size_t width) {
  const std::string_view line = message.substr(0, width + 1);
  for (const char* sign : {"; ", ", "}) {
    const size_t found = line.rfind(sign);
    if (found != std::string_view::npos && found > width / 2) return found + 1;
  }
  const size_t last = line.rfind(' ');
  return last != std::string_view::npos ? last : message.find(' ');
}

}  // namespace

void show_label(bool wanted) { labelled = wanted; }

std::string folded(std::string_view message) {
  constexpr size_t columns = 100 - std::string_view("[00:00:00] ").size();
  constexpr std::string_view indent = "  ";
  std::string text;
  for (size_t width = columns; message.size() > width; width = columns - indent.size()) {
    const size_t end = place_of_break(message, width);
    if (end == std::string_view::npos) break;
    text += std::string(message.substr(0, end)) + "\n" + std::string(indent);
    message.remove_prefix(end + 1);
  }
  return text + std::string(message);
}

void write(Level level, std::string_view message) {
  const auto& label = thread_label();
  const std::string text = printable_lines(message);
  if (label.empty() || !labelled) {
    logger().log(translate(level), "{}", text);
  } else {
    logger().log(translate(level), "{} ({})", text, label);
  }
}

}  // namespace switchyard::log
