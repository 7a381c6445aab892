#include "launch/specification.h"

#include <filesystem>

#include "core/error.h"
#include "launch/specification_checks.h"

namespace switchyard {

namespace {

std::string absolute(const std::string& prefix) {
  return std::filesystem::absolute(prefix).lexically_normal().string();
}

}  // namespace

int64_t PathSpecification::decay_end() const {
  return schedule.style == DecayStyle::constant ? 0 : schedule.decay_begin + schedule.decay_iters;
}

std::vector<DataSource> parse_sources(const std::vector<std::string>& values) {
  const std::string allowed = "one PREFIX, or pairs of a positive weight and a PREFIX, are allowed";
  if (values.size() == 1) return {{absolute(values[0]), 1.0, ""}};
  check(!values.empty() && values.size() % 2 == 0, "data", "--data-path {}: {} values; {}",
        show(values), values.size(), allowed);
  std::vector<DataSource> sources;
  for (size_t i = 0; i < values.size(); i += 2) {
    Settings weight;
    try {
      weight.set({"weight", OptionKind::real, OptionGroup::run, "", ""}, {values[i]});
    } catch (const Error&) {
      fail("data", "--data-path {}: '{}' is not a weight; {}", show(values), values[i], allowed);
    }
    sources.push_back({absolute(values[i + 1]), weight.real("weight"), ""});
  }
  return sources;
}

TrainingData open_training_data(const PathSpecification& path) {
  return TrainingData(path.stages, path.sequence_length(), path.seeds, path.split,
                      path.model.vocabulary);
}

std::unique_ptr<EvaluationData> open_evaluation_data(const PathSpecification& path,
                                                     const std::vector<std::string>& prefixes) {
  auto data =
      std::make_unique<EvaluationData>(prefixes, path.sequence_length(), path.model.vocabulary);
  const std::string& theirs = data->info().tokenizer;
  check(theirs.empty() || path.tokenizer.empty() || theirs == path.tokenizer, "data",
        "{} was made by the tokenizer '{}'; the path's is '{}'", show(prefixes), theirs,
        path.tokenizer);
  return data;
}

}  // namespace switchyard
