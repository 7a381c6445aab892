#include "launch/evaluate.h"

#include <cmath>
#include <filesystem>
#include <numbers>

#include "core/error.h"
#include "core/text.h"
#include "data/progress.h"
#include "launch/engine/load_weights.h"
#include "launch/engine/score.h"
#include "launch/engine/world.h"
#include "launch/path/evaluation_sets.h"
#include "launch/path/fork_point.h"
#include "launch/path/run_folder.h"
#include "launch/path/run_settings.h"
#include "launch/path/specification_checks.h"
#include "launch/path/verify.h"
#include "launch/path/weights_option.h"

namespace switchyard {

namespace {

// Null for the random start.
std::unique_ptr<CheckpointReader> open_checkpoint(const RunReference& reference,
                                                  const PathSpecification& path,
                                                  Communicator& world) {
  const RunFolder run(reference.folder);
  const bool is_begin = reference.step == 0 && path.kind == "path";
  if (is_begin && path.has_random_start()) return nullptr;
  const auto entry = is_begin && path.begins_with_weights()
                         ? find_fork_point(run, path.lineage.back()).entry
                         : run.checkpoint(reference.step);
  auto reader = std::make_unique<CheckpointReader>(entry.folder);
  verify_with_progress(*reader, world.rank(), world.size());
  return reader;
}

void take_weights(ModelRunner& model, const PathSpecification& path, const CheckpointReader* reader,
                  const std::string& group) {
  if (reader == nullptr) {
    model.stage().initialize(path.seeds.initial());
    return;
  }
  load_weights(model.stage().parameters(), *reader, model.context().stream, group);
}

Score score_windows(ModelRunner& model, const EvaluationData& data) {
  const Mesh& mesh = model.mesh();
  Progress progress("eval", data.windows(), mesh.world->rank() == 0, {"windows", 1});
  return score(model, data.windows(),
               [&](int64_t window, std::span<int32_t> tokens, std::span<int32_t> targets) {
                 data.read(window, tokens, targets);
                 progress.add(mesh.layout.dp);  // the others are as far
               });
}

// Numbers among the prefixes that are no sets: every token counts alike here.
void check_no_weights(const std::vector<std::string>& prefixes) {
  for (const auto& prefix : prefixes) {
    check(
        !parse_number<double>(prefix) || std::filesystem::exists(prefix + ".idx"), "data",
        "--data-path {}: {} is a weight; eval scores every token of all sets: give prefixes alone",
        show(prefixes), prefix);
  }
}

Evaluation summarize(const CheckpointInfo& info, const Score& score, const EvaluationData& data) {
  Evaluation e;
  e.step = info.step;
  e.checkpoint = info.id;
  e.tokens = score.tokens;
  e.text_bytes = data.text_bytes();
  e.loss = score.loss_sum / static_cast<double>(score.tokens);
  e.perplexity = std::exp(e.loss);
  if (e.text_bytes > 0) {
    e.bits_per_byte = score.loss_sum / std::numbers::ln2 / static_cast<double>(e.text_bytes);
  }
  return e;
}

}  // namespace

Evaluation evaluate(const std::string& run, const std::vector<std::string>& data_prefixes,
                    const Settings& settings, Communicator& world) {
  Layout layout;
  PathSpecification path;
  RunReference reference;
  world.control().agree([&] {
    apply_device_settings(settings);
    layout = layout_of(world.size(), settings.integer("tensor-model-parallel-size"),
                       settings.integer("pipeline-model-parallel-size"));
    reference = parse_run_reference(run);
    path = RunFolder(reference.folder).read();
    check_engine(engine_options(path, settings, false), layout);
    check_no_weights(data_prefixes);
  });
  const auto data = open_evaluation_data_once(path, data_prefixes, world.control());
  std::unique_ptr<CheckpointReader> reader;
  world.control().agree([&] {
    reader = open_checkpoint(reference, path, world);
    check_weights_option(reader.get(), settings.text("weights"));
  });
  const Mesh mesh = make_mesh(layout, world);
  std::unique_ptr<ModelRunner> model;
  world.control().agree([&] {
    model = std::make_unique<ModelRunner>(engine_options(path, settings, false), mesh);
    take_weights(*model, path, reader.get(), settings.text("weights"));
  });
  begin_work();
  const Score all = score_windows(*model, *data);
  Evaluation result = summarize(reader ? reader->info() : CheckpointInfo{}, all, *data);
  if (reference.step) result.step = *reference.step;  // a path's 0, of published weights
  world.control().agree([&] {
    check(std::isfinite(result.loss), ExitCode::non_finite, "eval",
          "the loss of '{}' at step {} is {}; its weights give no finite score", run, result.step,
          std::isnan(result.loss) ? std::abs(result.loss) : result.loss);
  });
  return result;
}

}  // namespace switchyard
