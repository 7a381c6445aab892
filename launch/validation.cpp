#include "launch/validation.h"

#include <limits>

#include "core/error.h"
#include "core/stop_signal.h"
#include "launch/engine/score.h"
#include "launch/path/evaluation_sets.h"
#include "launch/path/goal.h"

namespace switchyard {

namespace {

// The split's second part is not empty wherever it is to be scored.
void check_split(const PathSpecification& path, const Settings& settings, const TrainingData& data,
                 int64_t step) {
  if (!validates_behind(path, settings, step)) return;
  const int64_t consumed = path.samples_at(step), last = last_step(path, settings);
  for (const auto& stage : path.stages) {
    const int64_t sample = std::max(stage.first_sample, consumed);
    if (last > 0 && sample >= path.samples_at(last)) break;
    check(!data.validation_sources(sample).empty(), "train",
          "--eval-interval {}, but --split {} leaves no window for validation from sample {} on; "
          "give --valid-data-path, --eval-interval 0, or another --split to a new path",
          settings.text("eval-interval"), path.split.to_string(), sample);
  }
}

}  // namespace

std::vector<ValidationSource> open_validation(const PathSpecification& path,
                                              const Settings& settings, const TrainingData& data,
                                              int64_t step, ControlPlane& control,
                                              const std::string& hint) {
  if (!settings.has("valid-data-path")) {
    control.agree([&] { check_split(path, settings, data, step); });
    return {};
  }
  std::vector<DataSource> given;
  agree_with_hint(control, hint, [&] {  // words that mean nothing are refused where none is due
    given = parse_sources(settings.list("valid-data-path"), "valid-data-path");
  });
  if (!validates_behind(path, settings, step)) return {};
  std::vector<std::string> prefixes;
  prefixes.reserve(given.size());
  for (const DataSource& source : given) prefixes.push_back(source.prefix);
  const auto sets = open_evaluation_data_once(path, prefixes, control, hint);
  std::vector<ValidationSource> sources;
  for (size_t i = 0; i < given.size(); ++i) sources.push_back(sets->source(i, given[i].weight));
  return sources;
}

// Sets are scored one after the other; the mean is that over all tokens of the sample.
std::optional<ValidationLosses> validate(const PathSpecification& path, const Settings& settings,
                                         const TrainingData& data,
                                         const std::vector<ValidationSource>& sets, int64_t step,
                                         ModelRunner& model) {
  const int64_t batches = settings.integer("eval-iters");
  const int64_t batch = path.global_batch();
  constexpr auto most = std::numeric_limits<int64_t>::max();
  const ValidationSample sample(
      sets.empty() ? data.validation_sources(path.samples_at(step) - 1) : sets,
      batches > most / batch ? most : batches * batch, path.sequence_length());
  ValidationLosses losses;
  Score all;
  for (size_t set = 0; set < sample.sets(); ++set) {
    const Score one = score(
        model, sample.samples(set),
        [&](int64_t number, std::span<int32_t> tokens, std::span<int32_t> targets) {
          sample.read(set, number, tokens, targets);
        },
        StopSignal::requested);
    if (one.broken_off) return std::nullopt;
    losses.sets.push_back(
        {sample.name(set), sample.samples(set), one.loss_sum / static_cast<double>(one.tokens)});
    all.loss_sum += one.loss_sum;
    all.tokens += one.tokens;
  }
  losses.mean = all.loss_sum / static_cast<double>(all.tokens);
  return losses;
}

}  // namespace switchyard
