#include "launch/path/imported.h"

#include <algorithm>

#include "core/error.h"
#include "launch/path/model_settings.h"

namespace switchyard {

PathSpecification imported_path(const GptConfig& model, int64_t sequence_length,
                                const std::string& tokenizer) {
  PathSpecification path;
  path.kind = "imported";
  path.settings = settings_of(model.completed());
  path.settings.set_text("seq-length", std::to_string(sequence_length));
  path.model = config_of(path.settings);
  check(path.model == model.completed(), "path",
        "the options of a model do not say all of it: {} became {}", model.to_json(),
        path.model.to_json());
  path.model.validate();
  path.tokenizer = tokenizer;
  return path;
}

Json imported_json(const ImportedWeights& weights) {
  Json files = Json::array();
  for (const auto& file : weights.files) {
    files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  }
  Json all = {{"model", weights.model}, {"architecture", weights.architecture}, {"files", files}};
  if (!weights.dtype.empty()) all["dtype"] = weights.dtype;
  if (!weights.mean_of.empty()) all["mean_of"] = weights.mean_of;
  return all;
}

ImportedWeights imported_from(const Json& j) {
  ImportedWeights weights;
  weights.model = j.at("model");
  weights.architecture = j.at("architecture");
  for (const auto& file : j.at("files")) {
    weights.files.push_back({file.at("name"), file.at("bytes"), file.at("sha256")});
  }
  weights.dtype = j.value("dtype", "");
  if (j.contains("mean_of")) weights.mean_of = j.at("mean_of").get<std::vector<std::string>>();
  return weights;
}

ImportedWeights imported_weights_in(const CheckpointInfo& info) {
  const auto text = info.documents.find(import_document);
  check(text != info.documents.end(), ExitCode::storage, "checkpoint",
        "step {} does not say which published weights it holds: it has no document '{}'", info.step,
        import_document);
  try {
    ImportedWeights weights = imported_from(parse_json(text->second));
    weights.step = info.step;
    return weights;
  } catch (const nlohmann::json::exception& problem) {
    fail(ExitCode::storage, "checkpoint",
         "the document '{}' of step {} is not what this program writes: {}", import_document,
         info.step, problem.what());
  }
}

ImportedWeights imported_mean(const std::vector<ImportedWeights>& weights,
                              std::vector<std::string> members) {
  ImportedWeights mean = weights.back();
  mean.files.clear();
  for (const auto& each : weights) {
    for (const auto& file : each.files) {
      mean.files.push_back(
          {fmt::format("{}@{}/{}", each.model, each.step, file.name), file.bytes, file.sha256});
    }
  }
  mean.mean_of = std::move(members);
  return mean;
}

bool is_same_import(const ImportedWeights& a, const ImportedWeights& b) {
  const auto same = [](const auto& one, const auto& other) {
    return one.name == other.name && one.bytes == other.bytes && one.sha256 == other.sha256;
  };
  return a.mean_of.empty() && b.mean_of.empty() && a.dtype == b.dtype && a.step == b.step &&
         std::ranges::equal(a.files, b.files, same);
}

bool is_checkpoint_of(const LineageEntry& fork, const CheckpointInfo& info) {
  if (info.id == fork.checkpoint) return true;
  return fork.imported && info.documents.contains(import_document) &&
         is_same_import(*fork.imported, imported_weights_in(info));
}

std::string describe(const ImportedWeights& weights) {
  if (weights.mean_of.empty()) {
    return fmt::format("'{}' ({}), step {}", weights.model, weights.architecture, weights.step);
  }
  const auto members = static_cast<size_t>(std::ranges::count_if(
      weights.files, [](const auto& file) { return file.name.ends_with("/config.json"); }));
  if (members == weights.mean_of.size()) {
    return fmt::format("the mean of {} checkpoints of '{}' ({})", members, weights.model,
                       weights.architecture);
  }
  return fmt::format("the mean of {} checkpoints, {} of them published weights of '{}' ({})",
                     weights.mean_of.size(), members, weights.model, weights.architecture);
}

}  // namespace switchyard
