#include "launch/fork.h"

#include "core/error.h"
#include "core/logging.h"
#include "launch/matmul_choices.h"
#include "launch/run_folder.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

// The parent's saved step; step 0 is its random start, of which nothing is saved.
LineageEntry entry_at(const RunFolder& parent, const PathSpecification& path, int64_t step,
                      const std::string& name) {
  if (step == 0) {
    check(path.start_step() == 0, "fork",
          "'{}' begins at step {}; its random start is step 0 of the path that it was forked from",
          parent.folder().string(), path.start_step());
    return {name, "", 0, 0, 0};
  }
  const CheckpointReader reader(parent.checkpoint(step).folder);
  const auto& info = reader.info();
  return {name, info.id, info.step, info.samples, path.tokens_at(info.step)};
}

}  // namespace

void fork(const std::string& parent_at_step, const std::string& child, const Settings& given) {
  const auto reference = parse_run_reference(parent_at_step);
  check(reference.step.has_value(), "fork", "'{}'; MAIN@STEP is allowed", parent_at_step);
  const RunFolder parent(reference.folder);
  const RunFolder branch(child);
  check(!branch.taken(), "fork", "'{}' exists already; a branch needs a new folder", child);
  const auto specification = parent.read();
  check(specification.kind == "path", "fork",
        "'{}' is an average, which has weights only; fork a "
        "path's saved step",
        reference.folder.string());
  const fs::path relative =
      fs::proximate(fs::weakly_canonical(parent.folder()), fs::weakly_canonical(branch.folder()));
  const auto entry = entry_at(parent, specification, *reference.step, relative.string());
  const auto path = fork_path(specification, entry, given);
  make_folder(branch.folder());  // may fail, and a pin would be left
  if (entry.step > 0) {
    parent.pin(entry.step, branch.folder());
    parent.checkpoint(entry.step);  // a trainer may have deleted it until the pin was there
  }
  hand_on_matmul_choices(parent.folder(), branch.folder());
  branch.write(path);
  log::info("'{}' continues from step {} of '{}' ({} samples)", child, entry.step,
            parent.folder().string(), entry.samples);
  for (const auto& line : describe_rates(specification, path)) log::info("{}", line);
}

void extend(const std::string& run, int64_t step, const Settings& given) {
  const RunFolder folder(run);
  check(folder.read().kind == "path", "extend", "'{}' is an average; it is never trained on", run);
  const PathLock lock(folder);
  auto path = folder.read();  // now nobody else changes it
  const auto latest = folder.latest();
  const int64_t last = latest ? latest->step : path.start_step();
  check(step >= last, "extend",
        "--at-step {}, but step {} is saved; a step from there on is allowed", step, last);
  const int64_t sample = path.samples_at(step);
  check(
      path.stages.back().first_sample < sample, "extend",
      "--at-step {} (sample {}), but a stage of data begins at sample {} already; a later step is "
      "allowed",
      step, sample, path.stages.back().first_sample);
  path.stages.push_back({sample, parse_sources(given.list("data-path"))});
  path.stages = open_training_data(path).stages();
  folder.write(path);
  log::info("behind step {} '{}' reads {}", step, run, path.stages.back().sources.front().prefix);
}

}  // namespace switchyard
