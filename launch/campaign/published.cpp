#include "launch/campaign/published.h"

#include "core/error.h"
#include "launch/path/fork_entry.h"
#include "launch/path/imported.h"
#include "launch/path/specification_from_weights.h"

namespace switchyard {

PathSpecification planned_from_weights(const DesiredPath& path, bool without_data) {
  const auto reference = parse_run_reference(path.weights);
  const RunFolder run(reference.folder);
  const auto weights = run.read();
  check(!weights.has_training_options(), "campaign",
        "'{}' is {}; published weights, or an average of them, are allowed", path.weights,
        weights.kind == "path" ? "a path" : describe_kind(weights));
  const auto entry = run.checkpoint(step_to_fork(reference, weights));
  const CheckpointReader reader(entry.folder);
  LineageEntry begin;
  begin.checkpoint = reader.info().id;
  begin.imported = imported_weights_in(reader.info());
  return without_data ? path_from_weights_without_data(weights, begin, path.options)
                      : path_from_weights(weights, begin, path.options);
}

std::optional<PathSpecification> planned_if_there(const DesiredPath& path) {
  if (!RunFolder(parse_run_reference(path.weights).folder).exists()) return std::nullopt;
  return planned_from_weights(path, true);
}

bool is_made_of(const PathSpecification& path, const std::string& weights) {
  const auto reference = parse_run_reference(weights);
  const LineageEntry& begin = path.lineage.back();
  if (reference.step && *reference.step != begin.saved_step()) return false;
  const RunFolder run(reference.folder);
  if (!run.exists() || !run.has(begin.saved_step())) return true;
  const CheckpointReader reader(run.checkpoint(begin.saved_step()).folder);
  return is_checkpoint_of(begin, reader.info());
}

}  // namespace switchyard
