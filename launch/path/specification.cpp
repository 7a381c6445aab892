#include "launch/path/specification.h"

#include <limits>

#include "core/error.h"

namespace switchyard {

namespace {

// Not every stage is opened, so sets are held against what the path says.
void check_tokenizer(const PathSpecification& path, const DatasetInfo& data,
                     const std::string& what) {
  check(data.tokenizer.empty() || path.tokenizer.empty() || data.tokenizer == path.tokenizer,
        "data", "{} was made by the tokenizer '{}'; the path's is '{}'", what, data.tokenizer,
        path.tokenizer);
}

}  // namespace

std::string describe_replayed(const LineageEntry& fork) {
  if (!fork.replayed) return "";
  const ReplayedFrom& from = *fork.replayed;
  std::string text = ", made again from ";
  text += from.step > 0        ? fmt::format("step {}", from.step)
          : from.imported_step ? "the published weights"
                               : "the random start";
  if (!from.outcome.empty()) text += ": " + from.outcome;
  if (!from.difference.empty()) text += ", " + from.difference;
  return text;
}

std::string describe_kind(const PathSpecification& what) {
  return what.kind == "imported" ? "published weights" : "an average";
}

int64_t PathSpecification::samples_at(int64_t step) const {
  if (!has_training_options()) return 0;
  const int64_t tokens = lineage.empty() ? 0 : lineage.back().tokens;
  const int64_t room = std::numeric_limits<int64_t>::max() - std::max(tokens, start_samples());
  const int64_t most = start_step() + room / (global_batch() * sequence_length());
  check(step <= most, "path",
        "step {} has more tokens than can be counted ({} a step); {} at most is allowed", step,
        global_batch() * sequence_length(), most);
  return start_samples() + (step - start_step()) * global_batch();
}

int64_t PathSpecification::counted_from() const {
  for (auto entry = lineage.rbegin(); entry != lineage.rend(); ++entry) {
    if (entry->average && entry->average->moments == "fresh") return entry->step;
  }
  return 0;
}

int64_t PathSpecification::decay_end() const {
  return schedule.style == DecayStyle::constant ? 0 : schedule.decay_begin + schedule.decay_iters;
}

int64_t PathSpecification::end_behind(int64_t step) const {
  return decay_end() > step ? decay_end() : 0;
}

TrainingData open_training_data(const PathSpecification& path, int64_t step, int64_t last_step,
                                SetCheck depth) {
  constexpr int64_t none = std::numeric_limits<int64_t>::max();
  TrainingData data(path.stages, path.sequence_length(), path.seeds, path.split,
                    path.model.vocabulary, path.samples_at(step),
                    last_step > 0 ? path.samples_at(last_step) : none, depth);
  check_tokenizer(path, data.info(), "the training data");
  return data;
}

std::unique_ptr<EvaluationData> open_evaluation_data(const PathSpecification& path,
                                                     const std::vector<std::string>& prefixes,
                                                     const std::vector<std::string>& identities) {
  auto data = std::make_unique<EvaluationData>(prefixes, path.sequence_length(),
                                               path.model.vocabulary, identities);
  check_tokenizer(path, data->info(), show(prefixes));
  return data;
}

}  // namespace switchyard
