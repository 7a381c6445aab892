#include "data/training_data.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <limits>
#include <map>
#include <mutex>
#include <optional>

#include "core/error.h"
#include "data/common_info.h"

namespace switchyard {

namespace {

// [begin, end) of the windows of a set.
struct Range {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t size() const { return end - begin; }
};

// A set as one stage reads it.
struct Source {
  std::shared_ptr<const TokenDataset> set;
  int64_t windows = 0;
  Range training;
  Range validation;
  std::unique_ptr<std::atomic<int64_t>> newest_epoch = std::make_unique<std::atomic<int64_t>>(-1);
  std::optional<BegunEpochs> begun = {};  // and not yet told
};

struct Stage {
  std::vector<Source> sources;  // none for a stage that was not opened
  std::optional<SampleOrder> order;
};

void check_stages(const std::vector<DataStage>& stages) {
  check(!stages.empty(), "data", "no data was given; at least one stage is needed");
  check(stages[0].first_sample == 0, "data",
        "the first stage of the data begins with sample {}; 0 is needed", stages[0].first_sample);
  for (size_t i = 0; i < stages.size(); ++i) {
    check(!stages[i].sources.empty(), "data", "stage {} of the data names no set", i);
    check(i == 0 || stages[i].first_sample > stages[i - 1].first_sample, "data",
          "stage {} of the data begins with sample {}; one after stage {}'s {} is needed", i,
          stages[i].first_sample, i - 1, stages[i > 0 ? i - 1 : 0].first_sample);
  }
}

// A set that a path has read before may have moved.
void check_there(const DataSource& source) {
  std::error_code ignored;
  check(source.identity.empty() || std::filesystem::exists(source.prefix + ".idx", ignored), "data",
        "{}.idx is not there; the path reads the set with the identity {}: if it has moved, give "
        "'train' its new --data-path, with the other sets of its stage and their weights",
        source.prefix, source.identity);
}

void check_identity(const DataSource& source, const TokenDataset& set) {
  check(source.identity.empty() || source.identity == set.identity(), "data",
        "{} has the identity {}; the path was made with {}: this is another set", source.prefix,
        set.identity(), source.identity);
}

}  // namespace

int64_t DataStage::without_skips(int64_t sample) const {
  for (auto skip = skips.rbegin(); skip != skips.rend(); ++skip) {
    if (sample >= skip->first_sample) sample += skip->samples;
  }
  return sample;
}

struct TrainingData::State {
  std::vector<DataStage> specification;
  std::vector<Stage> stages;
  std::map<std::string, std::shared_ptr<const TokenDataset>> sets;  // by prefix, each open once
  DatasetInfo info;
  int64_t sequence_length = 0;
  Split split;
  SetCheck depth = SetCheck::all;
  bool notes_epochs = false;
  std::mutex noting;

  std::shared_ptr<const TokenDataset> open(const DataSource& source, int64_t vocabulary);
  Source make_source(DataSource& source, int64_t vocabulary);
  void make_stage(const Seeds& seeds, size_t index, int64_t vocabulary);
  bool is_read(size_t stage, int64_t first_sample, int64_t end_sample) const;
  void settle_info(int64_t vocabulary);
  size_t stage_of(int64_t sample) const;
  SamplePlace place_in(size_t stage, int64_t sample) const;
  void note_epoch(size_t stage, const SamplePlace& place, int64_t sample);
  std::string describe(size_t stage, size_t source) const;
};

std::shared_ptr<const TokenDataset> TrainingData::State::open(const DataSource& source,
                                                              int64_t vocabulary) {
  auto& set = sets[source.prefix];
  if (set) return set;
  const bool checked = depth == SetCheck::header && !source.identity.empty();
  set = std::make_shared<const TokenDataset>(
      checked ? TokenDataset::open_checked(source.prefix, source.identity, vocabulary)
              : TokenDataset::open(source.prefix, vocabulary));
  return set;
}

Source TrainingData::State::make_source(DataSource& source, int64_t vocabulary) {
  check_there(source);
  Source made;
  made.set = open(source, vocabulary);
  check_identity(source, *made.set);
  if (source.identity.empty()) made.set->check_tokens();  // new to the path
  source.identity = made.set->identity();
  made.windows = whole_windows(made.set->tokens(), sequence_length);
  const auto [begin, end] = split.range(0, made.windows);
  made.training = {begin, end};
  if (split.parts.size() > 1) {
    const auto validation = split.range(1, made.windows);
    made.validation = {validation.first, validation.second};
  }
  check(made.training.size() > 0, "data",
        "{} has {} tokens, {} windows of sequence length {}, and none of them is for training "
        "(split {}); 1 or more is needed",
        source.prefix, made.set->tokens(), made.windows, sequence_length, split.to_string());
  return made;
}

void TrainingData::State::make_stage(const Seeds& seeds, size_t index, int64_t vocabulary) {
  Stage& stage = stages[index];
  std::vector<double> weights;
  std::vector<int64_t> windows;
  for (DataSource& source : specification[index].sources) {
    stage.sources.push_back(make_source(source, vocabulary));
    weights.push_back(source.weight);
    windows.push_back(stage.sources.back().training.size());
  }
  const int64_t begin = specification[index].first_sample;
  const int64_t end = index + 1 < specification.size() ? specification[index + 1].first_sample
                                                       : std::numeric_limits<int64_t>::max();
  // A seed holds from the sample on that is read there: what was left out before it stays so.
  Seeds own = seeds.within(begin, end);
  for (SeedChange& change : own.changes) {
    if (change.first_sample == 0) continue;
    change.first_sample = specification[index].without_skips(begin + change.first_sample) - begin;
  }
  stage.order.emplace(own, static_cast<int>(index), std::move(weights), std::move(windows));
}

bool TrainingData::State::is_read(size_t stage, int64_t first_sample, int64_t end_sample) const {
  const bool is_last = stage + 1 == specification.size();
  const bool is_past = !is_last && specification[stage + 1].first_sample <= first_sample;
  return !is_past && std::max(specification[stage].first_sample, first_sample) < end_sample;
}

void TrainingData::State::settle_info(int64_t vocabulary) {
  std::vector<const TokenDataset*> all;
  for (const auto& [prefix, set] : sets) all.push_back(set.get());
  if (!all.empty()) info = common_info(all);
  info.vocabulary = std::max(info.vocabulary, vocabulary);
}

size_t TrainingData::State::stage_of(int64_t sample) const {
  check(sample >= 0, "data", "sample {} was asked for; 0 or more is allowed", sample);
  size_t stage = specification.size() - 1;
  while (specification[stage].first_sample > sample) --stage;
  return stage;
}

SamplePlace TrainingData::State::place_in(size_t stage, int64_t sample) const {
  check(stages[stage].order.has_value(), "data",
        "sample {} was asked for; it lies in stage {} of the data, which was not opened", sample,
        stage);
  const DataStage& read = specification[stage];
  return stages[stage].order->at(read.without_skips(sample) - read.first_sample);
}

// Samples are not always read in order (microbatches), so only a new highest epoch counts. A set's
// first epoch is nothing new; a resumed run begins within any.
void TrainingData::State::note_epoch(size_t stage, const SamplePlace& place, int64_t sample) {
  Source& source = stages[stage].sources[static_cast<size_t>(place.set)];
  if (place.epoch <= source.newest_epoch->load(std::memory_order_relaxed)) return;
  const std::lock_guard lock(noting);
  const int64_t newest = source.newest_epoch->load();
  if (place.epoch <= newest) return;
  source.newest_epoch->store(place.epoch);
  if (place.epoch == 0) return;
  if (!source.begun) {
    source.begun = {.prefix = source.set->prefix(),
                    .stage = stage,
                    .windows = source.training.size(),
                    .first = newest < 0 ? place.epoch : newest + 1,
                    .first_sample = sample};
  }
  source.begun->last = place.epoch;
  source.begun->last_sample = sample;
}

std::string TrainingData::State::describe(size_t stage, size_t source) const {
  const Source& described = stages[stage].sources[source];
  const int64_t tokens = described.set->tokens();
  const auto quota = static_cast<double>(stages[stage].order->quotas()[source]);
  return fmt::format("  {:.4g}% {}: {} + {} windows, {} tokens, {} left out",
                     100 * quota / static_cast<double>(blend_block), described.set->prefix(),
                     described.training.size(), described.validation.size(), tokens,
                     tokens - 1 - described.windows * sequence_length);
}

TrainingData::TrainingData(std::vector<DataStage> stages, int64_t sequence_length,
                           const Seeds& seeds, Split split, int64_t vocabulary,
                           int64_t first_sample, int64_t end_sample, SetCheck depth)
    : state_(std::make_shared<State>()) {
  check_stages(stages);
  state_->specification = std::move(stages);
  state_->sequence_length = sequence_length;
  state_->split = std::move(split);
  state_->depth = depth;
  state_->stages.resize(state_->specification.size());
  for (size_t i = 0; i < state_->stages.size(); ++i) {
    if (state_->is_read(i, first_sample, end_sample)) state_->make_stage(seeds, i, vocabulary);
  }
  state_->settle_info(vocabulary);
}

void TrainingData::read(int64_t sample, std::span<int32_t> tokens,
                        std::span<int32_t> targets) const {
  const size_t stage = state_->stage_of(sample);
  const SamplePlace place = state_->place_in(stage, sample);
  if (state_->notes_epochs) state_->note_epoch(stage, place, sample);
  const Source& source = state_->stages[stage].sources[static_cast<size_t>(place.set)];
  read_window(*source.set, source.training.begin + place.window, state_->sequence_length, tokens,
              targets);
}

void TrainingData::note_epochs(bool wanted) { state_->notes_epochs = wanted; }

std::vector<BegunEpochs> TrainingData::take_epochs() {
  const std::lock_guard lock(state_->noting);
  std::vector<BegunEpochs> all;
  for (Stage& stage : state_->stages) {
    for (Source& source : stage.sources) {
      if (source.begun) all.push_back(*source.begun);
      source.begun.reset();
    }
  }
  return all;
}

std::pair<int, SamplePlace> TrainingData::place(int64_t sample) const {
  const size_t stage = state_->stage_of(sample);
  return {static_cast<int>(stage), state_->place_in(stage, sample)};
}

std::vector<ValidationSource> TrainingData::validation_sources(int64_t sample) const {
  const size_t stage = state_->stage_of(sample);
  std::vector<ValidationSource> sources;
  for (size_t i = 0; i < state_->stages[stage].sources.size(); ++i) {
    const Source& source = state_->stages[stage].sources[i];
    if (source.validation.size() == 0) continue;
    sources.push_back({source.set, state_->specification[stage].sources[i].weight,
                       source.validation.begin, source.validation.end});
  }
  return sources;
}

const DatasetInfo& TrainingData::info() const { return state_->info; }

std::vector<std::string> TrainingData::describe() const {
  std::vector<std::string> lines;
  for (size_t stage = 0; stage < state_->stages.size(); ++stage) {
    if (state_->stages[stage].sources.empty()) continue;
    lines.push_back(
        fmt::format("stage {} from sample {}: windows of {} tokens, training + validation{}", stage,
                    state_->specification[stage].first_sample, state_->sequence_length,
                    state_->info.tokenizer.empty() ? "" : ", tokenizer " + state_->info.tokenizer));
    for (size_t source = 0; source < state_->stages[stage].sources.size(); ++source) {
      lines.push_back(state_->describe(stage, source));
    }
  }
  return lines;
}

const std::vector<DataStage>& TrainingData::stages() const { return state_->specification; }

}  // namespace switchyard
