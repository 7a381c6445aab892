#include "launch/campaign/run_progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <exception>

#include "core/logging.h"
#include "data/progress.h"
#include "launch/campaign/campaign_state.h"
#include "launch/path/run_folder.h"

namespace switchyard {

namespace {

struct Steps {
  int64_t made = 0, all = 0;
  int64_t percent() const { return all == 0 ? 0 : 100 * made / all; }
};

Steps steps_in(const std::vector<CampaignRow>& rows) {
  Steps steps;
  for (const auto& row : rows) {
    const int64_t all = row.last - row.first;
    steps.made += std::clamp<int64_t>(row.step - row.first, 0, all);
    steps.all += all;
  }
  return steps;
}

std::string line_of(const std::vector<CampaignRow>& rows, const std::vector<std::string>& running) {
  const Steps steps = steps_in(rows);
  double left = 0;
  for (const auto& row : rows) left += row.seconds_left;
  std::string line = fmt::format("{}% of {} steps", steps.percent(), steps.all);
  if (left > 0) line += fmt::format(", {} of training left", show_duration(left));
  for (const auto& name : running) {
    const auto row = std::ranges::find(rows, name, &CampaignRow::name);
    const bool trains = row != rows.end() && row->last > row->first;
    line += "; " + name;
    if (trains) line += fmt::format(" at step {} of {}", row->step, row->last);
  }
  return line;
}

// A line that is longer than the terminal is wide could not be drawn anew.
size_t columns() {
  constexpr size_t usual = 80;
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : usual;
}

}  // namespace

RunProgress::RunProgress() : terminal_(isatty(STDERR_FILENO) == 1) {}

void RunProgress::show(const Campaign& campaign, const Desired& desired, Found found,
                       const std::vector<std::string>& running) {
  try {
    for (const auto& name : running) {  // it may have been made since the folder was looked at
      const bool is_path = desired.find_path(name) != nullptr;
      if (is_path && RunFolder(folder_of(campaign, name)).exists()) found.paths[name].busy = true;
    }
    const auto rows = campaign_state(campaign, desired, found);
    const int64_t percent = steps_in(rows).percent();
    if (!terminal_ && percent <= percent_) return;
    percent_ = percent;
    const std::string line = line_of(rows, running);
    if (!terminal_) return log::info("{}", line);
    std::fputs(("\r\033[K" + line.substr(0, columns() - 1)).c_str(), stderr);
    std::fflush(stderr);
    drawn_ = true;
  } catch (const std::exception&) {  // a folder that changes while it is read
  }
}

void RunProgress::clear() {
  if (drawn_) std::fputs("\r\033[K", stderr);
  drawn_ = false;
}

}  // namespace switchyard
