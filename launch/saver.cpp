#include "launch/saver.h"

#include <chrono>

#include "core/error.h"
#include "core/logging.h"
#include "launch/average_state.h"
#include "launch/path/imported.h"
#include "parallel/comm/control_plane.h"

namespace switchyard {

namespace {

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

}  // namespace

Saver::Saver(const RunFolder& run, const PathSpecification& path, const Mesh& mesh,
             const RetentionOptions& keep)
    : run_(run),
      path_(path),
      mesh_(mesh),
      retention_(run, keep),
      writer_(run.checkpoints(), *mesh.checkpoint, [this] { run_.check_held(); }) {}

void Saver::save(int64_t step, int64_t samples, double loss, Engine& engine) {
  const auto begin = std::chrono::steady_clock::now();
  const bool leads = mesh_.world->rank() == 0;
  CheckpointInfo info;
  info.step = step;
  info.samples = samples;
  info.loss = loss;
  info.documents = {{"specification", path_.to_json()},
                    {"lineage", lineage_document(path_)},
                    {"model", path_.model.to_json()}};
  ControlPlane& control = mesh_.world->control();
  const auto retain = [&] {
    if (leads) retention_.apply();
  };
  control.agree(retain);  // of a start that keeps fewer; a disk may be full
  auto state = engine.state().tensors(StateUse::save);
  add_averages(run_, step, engine, mesh_, state, info.documents);  // whose members stay from now on
  control.agree([&] { writer_.stage(info, state); });
  control.agree([&] { writer_.commit(); });
  control.agree(retain);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  if (leads) log::info("saved step {} in {:.1f} s", step, seconds.count());
}

}  // namespace switchyard
