#include "launch/path/leaving_steps.h"

#include <chrono>
#include <thread>

#include "core/error.h"
#include "core/logging.h"
#include "launch/path/path_lock.h"
#include "launch/path/pins.h"
#include "parallel/checkpoint/leaving.h"

namespace switchyard {

void rescue_pinned(const RunFolder& run) {
  for (const auto& entry : list_checkpoints(run.checkpoints())) {
    if (!entry.complete) rescue_pinned(run, entry.step);
  }
}

void rescue_pinned(const RunFolder& run, int64_t step) {
  const auto folder = checkpoint_folder(run.checkpoints(), step);
  if (!is_leaving(folder) || !is_pinned(run.folder(), step)) return;
  log::info("step {} of '{}', which was about to be deleted, stays: it is a fork point", step,
            run.folder().string());
  bring_back(folder);
}

CheckpointEntry pinned_checkpoint(const RunFolder& run, int64_t step, const std::string& id) {
  const auto folder = checkpoint_folder(run.checkpoints(), step);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  see_anew(run.checkpoints());
  while ((is_leaving(folder) || are_moments_leaving(folder)) &&
         std::chrono::steady_clock::now() < end) {
    if (holder_of(run).empty()) {  // left by a process that was killed
      bring_back(folder);
      bring_moments_back(folder);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    see_anew(run.checkpoints());
  }
  see_anew(folder);
  auto entry = run.checkpoint(step);
  const std::string found = CheckpointReader(entry.folder).info().id;
  check(found == id, "fork",
        "step {} of '{}' is checkpoint {} now, saved anew meanwhile; it was {}", step,
        run.folder().string(), found, id);
  return entry;
}

}  // namespace switchyard
