#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace switchyard {

// What a launcher has to know of the `train` that it starts; the rest is for the ranks to say.
struct LaunchedTraining {
  std::filesystem::path run{};
  int64_t tp = 1;
  int64_t pp = 1;
  std::optional<int64_t> load_step{};
};
// Of a subcommand and its arguments; nothing for other subcommands, and for words that `train`
// itself will refuse.
std::optional<LaunchedTraining> launched_training(std::span<const std::string> words);

// How far a path is on the disk.
struct TrainedSoFar {
  int64_t saved = 0;   // the newest complete step that training can go on from; 0: none
  int64_t logged = 0;  // the last step of metrics.jsonl
  int64_t starts = 0;  // the number of the last start that did a step
};
TrainedSoFar progress_of(
    const std::filesystem::path& run);  // what cannot be read counts as nothing

// Those of a lost node may still complete a save behind a launcher's look at the disk.
enum class LastRanks : uint8_t { ended, may_save };
// Of a start with these words: "goes on from step 40; 7 steps are made again", or, where ranks may
// save, "goes on from step 40 or a later one; at most 7 steps are made again".
std::string describe_going_on(const TrainedSoFar& progress, std::span<const std::string> words,
                              LastRanks last);

// The words of another start behind `before`: without the --load-step that has done its work,
// which would give up all steps since.
std::vector<std::string> words_to_go_on(std::vector<std::string> words, const TrainedSoFar& before,
                                        const TrainedSoFar& now);

}  // namespace switchyard
