#pragma once

#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "data/sample_order.h"
#include "data/validation_sample.h"

namespace switchyard {

// One set of a blend, as a path's specification records it.
struct DataSource {
  std::string prefix;
  double weight = 1.0;
  std::string identity;  // TokenDataset::identity; empty: not yet known
};

// What a stage leaves out: sample p >= first_sample is what sample p + samples would have been.
struct SampleSkip {
  int64_t first_sample = 0;
  int64_t samples = 0;
  friend bool operator==(const SampleSkip&, const SampleSkip&) = default;
};

// A stage of data: what a path reads from sample first_sample (samples consumed along the lineage)
// until the next stage begins. Each skip holds over the stage as the skips before it leave it.
struct DataStage {
  int64_t first_sample = 0;
  std::vector<DataSource> sources;
  std::vector<SampleSkip> skips{};
  // The sample that would be read as number `sample` of the lineage if nothing were left out.
  int64_t without_skips(int64_t sample) const;
};

// `--split 99,1`: the row of windows of each set is divided, the first part for training, the
// second for validation, the third for tests. {1}: all for training.
struct Split {
  std::vector<double> parts{1.0};
  // Throws Error unless it is one to three numbers of at least 0, the first of them above 0.
  static Split parse(const std::string& text);
  std::string to_string() const;
  bool has_validation_part() const { return parts.size() > 1 && parts[1] > 0; }
  // [begin, end) of part i of `windows` windows; the borders are rounded, so the parts add up.
  std::pair<int64_t, int64_t> range(size_t part, int64_t windows) const;
};

// How much of its sets a process reads to open them. All: whole indices, whose every length and
// offset is checked, and the tokens that an identity is made of. Header: little, as another process
// of the machine reads all; for sets whose identity the specification says.
enum class SetCheck : uint8_t { all, header };

// Epochs of a set that a stage has begun to read.
struct BegunEpochs {
  std::string prefix{};
  size_t stage = 0;
  int64_t windows = 0;  // of an epoch
  int64_t first = 0;    // epoch, from 0
  int64_t last = 0;
  int64_t first_sample = 0;  // at which they were met
  int64_t last_sample = 0;
};

// Samples of a path by their number along the lineage.
class TrainingData {
 public:
  // Opens every set that is read from first_sample on and before end_sample; those of other stages
  // need neither be there nor fit. Throws Error for a set that is not what the specification
  // says (identity), fails check_tokens where its identity is not known yet, has no training
  // window, or whose tokenizer differs from the others'; for stages that do not begin with sample 0
  // and rise.
  // seeds: by sample. vocabulary: 0, or the size given by the user (never less than a set needs).
  TrainingData(std::vector<DataStage> stages, int64_t sequence_length, const Seeds& seeds,
               Split split, int64_t vocabulary, int64_t first_sample = 0,
               int64_t end_sample = std::numeric_limits<int64_t>::max(),
               SetCheck depth = SetCheck::all);
  // Sample number `sample` (from 0): tokens and targets, sequence_length each. May be called by
  // several threads.
  void read(int64_t sample, std::span<int32_t> tokens, std::span<int32_t> targets) const;
  // From now on read() notes when it meets a new epoch of a set; off at first, as one rank's notes
  // are enough.
  void note_epochs(bool wanted);
  // What was noted since the last call: of each set of a stage the epochs begun, from the first to
  // the last, all those between them too.
  std::vector<BegunEpochs> take_epochs();
  // Where a sample lies, which skips have moved: its stage and the set, epoch and training window
  // there.
  std::pair<int, SamplePlace> place(int64_t sample) const;
  // The split's second part of the sets of the stage that holds `sample`, but for sets without a
  // window in it; none when the split has one part.
  std::vector<ValidationSource> validation_sources(int64_t sample) const;
  const DatasetInfo& info() const;  // tokenizer and largest vocabulary over the sets
  // A line for each stage that was opened and, below it, for each of its sets: share of the
  // samples, windows, tokens, and those of a last short window, which are left out.
  std::vector<std::string> describe() const;
  const std::vector<DataStage>& stages() const;  // all, with identities filled in

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Every token of one or several sets once, as evaluation windows: stride sequence_length, the short
// tail too (padded; padded targets are -1).
class EvaluationData {
 public:
  // identities: of the sets, by place, where another process of the machine checks them whole, so
  // that headers are read alone (SetCheck); none: they are checked here. Throws Error for a set
  // that cannot be opened or fails check_tokens, has fewer than 2 tokens, or whose tokenizer
  // differs from the others'.
  EvaluationData(const std::vector<std::string>& prefixes, int64_t sequence_length,
                 int64_t vocabulary, const std::vector<std::string>& identities = {});
  int64_t windows() const;
  // Bytes of text of the sets (PREFIX.json), for bits per byte; 0 when a set does not say. Ends of
  // documents count in the loss but are no bytes; a set's first token is a byte but not scored.
  int64_t text_bytes() const;
  void read(int64_t window, std::span<int32_t> tokens, std::span<int32_t> targets) const;
  const DatasetInfo& info() const;
  std::vector<std::string> identities() const;  // of the sets, by place
  // All windows of a set (by its place among the prefixes), to draw a sample from.
  ValidationSource source(size_t set, double weight) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace switchyard
