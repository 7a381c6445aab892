#include "launch/engine/matmul_choices.h"

#include <set>
#include <vector>

#include "core/error.h"
#include "core/files.h"
#include "core/logging.h"
#include "core/ops/matmul/settings.h"
#include "core/ops/matmul/tuning.h"
#include "launch/engine/stop_point.h"
#include "model/gpt_stage.h"
#include "parallel/comm/control_plane.h"

namespace switchyard {

namespace {

// Of every rank, as they differ between stages and, in the vocabulary's last part, within one.
std::vector<ops::MatmulProduct> all_products(const EngineOptions& o, const Layout& layout) {
  std::set<ops::MatmulProduct> products;
  for (int pp = 0; pp < layout.pp; ++pp) {
    for (int tp = 0; tp < layout.tp; ++tp) {
      const Coordinates place{.tp = tp, .cp = 0, .dp = 0, .pp = pp};
      const auto stage = stage_options(o, activation_slots(o, layout, place));
      // Two microbatches: the first one writes the gradients, the others add.
      for (const CountedProduct& p : GptStage::step_products(o.model, layout, place, stage, 2)) {
        products.insert(under_settings(p.product));
      }
    }
  }
  return {products.begin(), products.end()};
}

std::filesystem::path file_in(const std::filesystem::path& folder) {
  return folder / "matmul.jsonl";
}

ops::MatmulTuning known_choices(const std::filesystem::path& folder,
                                const ops::TuningIdentity& here) {
  const auto file = file_in(folder);
  if (folder.empty() || !std::filesystem::exists(file)) return ops::MatmulTuning(here);
  auto table = ops::MatmulTuning::load(file);
  const std::string problem = table.why_not(here);
  if (problem.empty()) return table;
  log::warning("{}: {}; products are timed anew, and bits may differ from before", file.string(),
               problem);
  return ops::MatmulTuning(here);
}

std::string choose(const std::filesystem::path& folder, const EngineOptions& options,
                   const Layout& layout, bool goes_on) {
  auto table = known_choices(folder, ops::tuning_identity());
  const auto missing = table.lacks(all_products(options, layout));
  if (!missing.empty()) {
    log::info("timing algorithms of {} matrix products", missing.size());
    if (goes_on) {
      log::warning("they are not in {}; bits may differ from before", file_in(folder).string());
    }
    Stream stream(options.device);
    Scratch scratch(options.device);
    ops::MatmulTimer timer;
    for (const ops::MatmulProduct& product : missing) {
      stop_point();
      ops::tune_matmuls({stream, scratch}, std::span(&product, 1), table, timer);
      timer.warm_milliseconds = 0;  // the device is warm
    }
  }
  return table.to_text();
}

}  // namespace

void settle_matmul_choices(const std::filesystem::path& folder, const EngineOptions& options,
                           const Mesh& mesh, bool goes_on) {
  std::string text;
  mesh.world->control().agree([&] {
    if (mesh.world->rank() == 0) text = choose(folder, options, mesh.layout, goes_on);
  });
  text = mesh.world->control().broadcast(text, "timed matrix products");
  mesh.world->control().agree([&] {
    const auto table = ops::MatmulTuning::parse(text, "the first rank's table");
    ops::use_matmul_tuning(std::make_shared<const ops::MatmulTuning>(table));
  });
}

bool has_matmul_choices(const std::filesystem::path& folder) {
  return std::filesystem::exists(file_in(folder));
}

void hand_on_matmul_choices(const std::filesystem::path& parent,
                            const std::filesystem::path& branch) {
  if (!has_matmul_choices(parent)) return;
  std::error_code problem;
  std::filesystem::copy_file(file_in(parent), file_in(branch), problem);
  check(!problem, "fork", "{} cannot be copied to {}: {}", file_in(parent).string(),
        branch.string(), problem.message());
}

void keep_matmul_choices(const std::filesystem::path& folder) {
  make_folder(folder);
  ops::matmul_tuning()->save(file_in(folder));
}

}  // namespace switchyard
