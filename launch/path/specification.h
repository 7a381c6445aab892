#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/training_data.h"
#include "launch/path/blend.h"
#include "launch/path/model_settings.h"
#include "launch/path/options.h"
#include "model/config.h"
#include "optim/schedule.h"

namespace switchyard {

// Of a fork of an average: whose moments, counters and loss scale go with its weights.
struct AverageFork {
  std::string moments;          // "newest", of the average's last member; or "fresh", a new start's
  std::string path{};           // of that member's folder: RelativeName::real; empty: fresh
  std::string checkpoint{};     // its id
  std::string path_as_given{};  // RelativeName::given
  friend bool operator==(const AverageFork&, const AverageFork&) = default;
};

// How a fork point that the parent had not saved comes to be: the branch's first start makes the
// steps behind an earlier checkpoint again and saves the last as its own.
struct ReplayedFrom {
  std::string path, path_as_given;  // of the folder with that checkpoint, as of LineageEntry
  int64_t step = 0;                 // of the checkpoint; 0: the random start, or published weights
  std::string checkpoint;           // its id; empty at the random start
  // Empty before the first start. "exact": each step had the bits of the record; "approximate": it
  // ran under other conditions and kept within the tolerance; "accepted": --accept-replay was
  // needed.
  std::string outcome{};
  std::string difference{};                // the largest from the record, in words
  std::optional<int64_t> imported_step{};  // of published weights: ImportedWeights::step
  int64_t saved_step() const { return imported_step.value_or(step); }
};

// Published weights that a path began with: of which folder and files they were made.
struct ImportedWeights {
  struct File {
    std::string name;
    int64_t bytes = 0;
    std::string sha256;  // as hubs and `sha256sum` show it
  };
  std::string model;         // the folder's name, of several steps with that above it
  std::string architecture;  // config.json's model_type
  std::vector<File> files;   // of the weights, and config.json
  int64_t step = 0;          // of the imported run, where they lie; the branch begins at step 0
  std::string dtype{};       // that the weights were converted to; empty: as they are in the files
  // Of an average of imported runs, RUN@STEP (checkpoint ID) each; `files` are then those of all
  // imported members, named MODEL@STEP/NAME, and `step` is the average's.
  std::vector<std::string> mean_of{};
};

// A fork point behind a path: which step of which path it continues from.
struct LineageEntry {
  std::string path;        // of the parent's folder, relative to the child's: RelativeName::real
  std::string checkpoint;  // id of the parent's checkpoint; empty at the random start, step 0
  int64_t step = 0;
  int64_t samples = 0;
  int64_t tokens = 0;
  std::string path_as_given{};  // RelativeName::given
  std::optional<ReplayedFrom>
      replayed{};  // of a step that was not saved; `checkpoint` is empty then
  std::optional<AverageFork> average{};
  std::optional<ImportedWeights> imported{};  // step, samples and tokens are 0 then
  // Of the checkpoint, where the parent keeps it: `step`, but for published weights.
  int64_t saved_step() const { return imported ? imported->step : step; }
};

// ", made again from step N: exact" of a fork point that was not saved; empty for others.
std::string describe_replayed(const LineageEntry& fork);

// What a path is made of. Written once into RUN/path.json and into every checkpoint.
struct PathSpecification {
  // "path"; "average": weights only, which a branch trains; "imported": published weights, which
  // have no training options, and a branch begins with at step 0
  std::string kind = "path";
  Settings settings;  // every model and training option that has a value
  GptConfig model;
  Schedule schedule;
  std::vector<DataStage> stages;
  Split split;
  Seeds seeds{0};                     // of initial weights and sample order, along the lineage
  std::string tokenizer;              // of the data; empty: unknown
  std::vector<LineageEntry> lineage;  // from the random start to the parent

  int64_t sequence_length() const { return settings.integer("seq-length"); }
  int64_t global_batch() const { return settings.integer("global-batch-size"); }
  uint64_t seed() const { return static_cast<uint64_t>(settings.integer("seed")); }
  DType dtype() const {
    if (settings.flag("fp16")) return DType::f16;
    return settings.flag("bf16") ? DType::bf16 : DType::f32;
  }
  // Not of published weights, nor of an average of them.
  bool has_training_options() const { return settings.has("global-batch-size"); }
  bool begins_with_weights() const { return !lineage.empty() && lineage.back().imported; }
  bool has_random_start() const { return start_step() == 0 && !begins_with_weights(); }
  int64_t start_step() const { return lineage.empty() ? 0 : lineage.back().step; }
  int64_t start_samples() const { return lineage.empty() ? 0 : lineage.back().samples; }
  // The step from which on updates are counted: the last fork with fresh moments, or the start.
  int64_t counted_from() const;
  int64_t samples_at(int64_t step) const;  // throws Error where they cannot be counted
  // A sample's tokens are this path's behind its fork; a parent may have had another seq-length.
  int64_t tokens_at(int64_t step) const {
    return (lineage.empty() ? 0 : lineage.back().tokens) +
           (samples_at(step) - start_samples()) * sequence_length();
  }
  // The last step of a decaying schedule; 0 when there is none.
  int64_t decay_end() const;
  // The same for a path that is at `step`: 0, too, where the decay is over and nothing ends what
  // may follow.
  int64_t end_behind(int64_t step) const;
  // Whether the rate is above 0 behind a decay's end, so that steps may follow it.
  bool learns_behind_end() const { return decay_end() == 0 || schedule.minimum > 0; }

  std::string to_json() const;
  static PathSpecification from_json(const std::string& text, const std::string& origin);
};

// A new path from the options given. Opens the data sets; throws Error for everything that can be
// known to be wrong before a rank starts.
PathSpecification new_path(const Settings& given);
// The same for a comparison with a path that is there: what only new paths are refused for passes.
PathSpecification path_as_asked(const Settings& given);
// Refuses a rotary width that would be rounded; older paths may have one.
void check_rotary_width(const GptConfig& model);

// "an average" or "published weights", of what is no path.
std::string describe_kind(const PathSpecification& what);

// The first option that a new path needs and that was not given; empty: none.
std::string missing_for_new_path(const Settings& given);

// The same for planning, where --data-path may be missing (the vocabulary is then the preset's or
// --vocab-size) and --lr, too. Never trained on.
PathSpecification path_without_data(Settings given);

// The specification of a branch of `parent` (of an average: of its last member's path) forked at
// `entry`, whose settings change to those given. Options that change a tensor's shape or name are
// refused. Of published weights: a path of all the training options given, as a new one.
PathSpecification fork_path(const PathSpecification& parent, const LineageEntry& entry,
                            const Settings& given);

// Where a path that is there differs from one that was asked for, for an error message; empty when
// it is the same. Parents are named as seen from `folder`, the path's. Data may have moved, and
// stages behind the last fork point are later extensions.
std::string difference(const PathSpecification& there, const PathSpecification& asked,
                       const std::filesystem::path& folder = {});

// For a log: that samples are longer than what a model of rotary positions was made for; else
// empty.
std::string describe_positions(const PathSpecification& path);

// For a log: what becomes of a --min-lr that a path of a constant rate is given; else empty.
std::string describe_minimum(const PathSpecification& path, const Settings& given);

// For a log: a branch's rates where their course changes, and a jump at the fork.
std::vector<std::string> describe_rates(const PathSpecification& parent,
                                        const PathSpecification& branch);

// The first option given whose value is not the path's, which may be "none"; data are left out.
struct SettingDifference {
  std::string option, given, there;
};
std::optional<SettingDifference> contradiction(const PathSpecification& path,
                                               const Settings& given);

// Refuses options that contradict the path, naming both values. Data sets that were given under
// another name but are the same (by identity) move there. is_untrained: the error then says that
// the path can be made anew.
void check_against(PathSpecification& path, const Settings& given, bool is_untrained = false);

// The path's training data behind `step` and up to last_step (0: none is known), opened and
// checked against the specification; what is only read before or behind need not be there.
TrainingData open_training_data(const PathSpecification& path, int64_t step, int64_t last_step = 0,
                                SetCheck depth = SetCheck::all);

// Sets to score the path's weights on, whose identities may be known (EvaluationData); throws Error
// for another tokenizer or a larger vocabulary.
std::unique_ptr<EvaluationData> open_evaluation_data(
    const PathSpecification& path, const std::vector<std::string>& prefixes,
    const std::vector<std::string>& identities = {});

}  // namespace switchyard
