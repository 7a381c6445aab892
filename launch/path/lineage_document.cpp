#include "launch/path/lineage_document.h"

#include <fmt/core.h>

#include "launch/path/imported.h"

namespace switchyard {

std::string lineage_document(const PathSpecification& path) {
  const bool of_weights = !path.lineage.empty() && path.lineage.front().imported;
  std::string text = of_weights ? "published weights" : "random start";
  for (const auto& e : path.lineage) {
    const std::string what =
        e.imported    ? fmt::format("checkpoint {}, {}", e.checkpoint, describe(*e.imported))
        : e.step == 0 ? fmt::format("weights of seed {}", path.seeds.initial())
        : e.replayed  ? fmt::format("{} samples{}", e.samples, describe_replayed(e))
                      : fmt::format("checkpoint {}, {} samples", e.checkpoint, e.samples);
    text += fmt::format("\n{}@{} ({})", e.path, e.saved_step(), what);
  }
  return text;
}

}  // namespace switchyard
