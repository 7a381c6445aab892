#include "launch/launcher/launched_training.h"

#include <fmt/core.h>

#include <algorithm>
#include <exception>

#include "launch/path/options.h"
#include "launch/path/run_folder.h"
#include "launch/path/starts.h"
#include "launch/path/step_records.h"

namespace switchyard {

std::optional<LaunchedTraining> launched_training(std::span<const std::string> words) {
  if (words.empty() || words[0] != "train") return std::nullopt;
  try {
    auto specs = path_options();
    for (auto& spec : run_options()) specs.push_back(std::move(spec));
    Command command = parse_command(specs, words.subspan(1));
    LaunchedTraining training;
    training.run = take_run(command, "RUN");
    const auto value = [&](const char* name) {
      return command.given.has(name) ? std::max<int64_t>(1, command.given.integer(name)) : 1;
    };
    training.tp = value("tensor-model-parallel-size");
    training.pp = value("pipeline-model-parallel-size");
    if (command.given.has("load-step")) training.load_step = command.given.integer("load-step");
    return training;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

TrainedSoFar progress_of(const std::filesystem::path& run) {
  TrainedSoFar progress;
  try {
    const RunFolder folder(run);
    if (const auto latest = folder.latest()) progress.saved = latest->step;
    if (const auto records = read_step_records(run); !records.empty())
      progress.logged = records.rbegin()->first;
    progress.starts = parse_start(last_start_line(run)).number;
  } catch (const std::exception&) {
  }
  return progress;
}

std::string describe_going_on(const TrainedSoFar& progress, std::span<const std::string> words,
                              LastRanks last) {
  const auto training = launched_training(words);
  if (training && training->load_step)
    return fmt::format("goes on from step {}, as --load-step says", *training->load_step);
  const bool ended = last == LastRanks::ended;
  const int64_t again = std::max<int64_t>(0, progress.logged - progress.saved);
  const std::string from =
      progress.saved > 0
          ? fmt::format("goes on from step {}{}", progress.saved, ended ? "" : " or a later one")
      : ended ? "begins again, as nothing is saved"
              : "begins again, as nothing is saved so far";
  return fmt::format("{}; {}{} {} made again", from, ended || again == 0 ? "" : "at most ", again,
                     again == 1 ? "step is" : "steps are");
}

std::vector<std::string> words_to_go_on(std::vector<std::string> words, const TrainedSoFar& before,
                                        const TrainedSoFar& now) {
  if (now.starts == before.starts) return words;
  for (size_t i = 0; i < words.size();) {
    const bool alone = words[i] == "--load-step";
    const size_t count = alone ? 2 : words[i].starts_with("--load-step=") ? 1 : 0;
    const auto at = words.begin() + static_cast<ptrdiff_t>(i);
    words.erase(at, at + static_cast<ptrdiff_t>(std::min(count, words.size() - i)));
    if (count == 0) ++i;
  }
  return words;
}

}  // namespace switchyard
