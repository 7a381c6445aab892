#include "launch/path/obtain_path.h"

#include "core/error.h"
#include "core/logging.h"
#include "launch/path/retention.h"
#include "parallel/comm/control_plane.h"

namespace switchyard {

namespace {

// The path that is there; or, where no step of it was ever made, the one that was asked for
// instead. `is_new` says whether it has to be written.
PathSpecification continue_path(const RunFolder& run, const Settings& given, bool& is_new) {
  auto path = run.read();
  check(path.kind == "path", "train",
        "'{}' is {}; it has weights only and is never trained on: 'fork {} NEW{}' makes a path "
        "that starts from them",
        run.folder().string(), describe_kind(path), run.folder().string(),
        path.has_training_options() ? "" : " --data-path ... --lr ... --global-batch-size ...");
  check(!given.has("load-step") || given.integer("load-step") > 0 || !path.has_random_start(),
        "train",
        "--load-step 0; at least 1 is allowed: 0 is the random start, of which nothing is saved; "
        "'fork RUN@0 NEW' makes a path that starts there anew");
  const auto before = path;
  // Made anew, it would lose an extension.
  const bool untrained = path.lineage.empty() && path.stages.size() == 1 && is_untrained(run);
  const bool whole = untrained && !given.has("load-step") && missing_for_new_path(given).empty();
  try {
    check_against(path, given, untrained);
  } catch (const Error&) {
    if (!whole) throw;
  }
  if (whole) {
    auto asked = path_as_asked(given);
    const auto differs = difference(before, asked);
    is_new = !differs.empty();
    if (is_new) {
      check_rotary_width(asked.model);
      log::warning("'{}' has no step yet and is made anew: {}", run.folder().string(), differs);
      return asked;
    }
  }
  // Known by its identity, a set that moved is settled at once: those of another stage may have
  // moved elsewhere, and only one stage can be given at a time.
  if (path.to_json() != before.to_json()) run.write(path);
  return path;
}

PathSpecification begin_path(const RunFolder& run, const Settings& given) {
  run.check_name();
  check(given.has("data-path"), "path",
        "there is no path in '{}'; a new one needs --data-path (is the name right?)",
        run.folder().string());
  check(!given.has("load-step"), "path",
        "--load-step {}, but there is no path in '{}' yet; leave it out for a new one",
        given.has("load-step") ? given.text("load-step") : "", run.folder().string());
  run.check_unused();
  return new_path(given);
}

// In slices, so that no other rank waits longer than for one. Collective.
std::unique_ptr<PathLock> wait_for_lock(const RunFolder& run, const Settings& given,
                                        Communicator& world) {
  std::optional<LockRequest> request;
  std::unique_ptr<PathLock> lock;
  ControlPlane& control = world.control();
  for (std::string state = "waiting"; state == "waiting";) {
    control.agree([&] {
      if (world.rank() != 0) return;
      state = "new";
      if (!run.exists()) return;
      if (!request) request.emplace(lock_place(run), lock_patience(given));
      state = request->wait(std::chrono::seconds(10)) ? "held" : "waiting";
    });
    state = control.broadcast(state, "the path's lock");
  }
  if (request) lock = std::make_unique<PathLock>(run, std::move(*request));
  return lock;
}

}  // namespace

ObtainedPath obtain_path(const RunFolder& run, const Settings& given, Communicator& world) {
  ObtainedPath obtained;
  bool& is_new = obtained.is_new;
  std::string text;
  obtained.lock = wait_for_lock(run, given, world);
  world.control().agree([&] {
    if (world.rank() != 0) return;
    is_new = !obtained.lock;
    const auto path = is_new ? begin_path(run, given) : continue_path(run, given, is_new);
    if (is_new) {
      for (const auto& line : rounded_sizes(path.model, given)) log::info("model: {}", line);
      for (const auto& line : {describe_positions(path), describe_minimum(path, given)}) {
        if (!line.empty()) log::info("{}", line);
      }
    }
    text = path.to_json();
  });
  ControlPlane& control = world.control();
  is_new = !control.broadcast(is_new ? "new" : "", "whether the path is new").empty();
  obtained.path =
      PathSpecification::from_json(control.broadcast(text, "the path"), "the path of rank 0");
  return obtained;
}

void settle_new(const RunFolder& run, ObtainedPath& obtained) {
  if (!obtained.lock) {
    obtained.lock = std::make_unique<PathLock>(run);
    check(!run.exists(), "path", "'{}' was made by another process at this moment",
          run.folder().string());
  }
  run.write(obtained.path);
}

}  // namespace switchyard
