#include "launch/origin.h"

#include <algorithm>

#include "core/error.h"
#include "data/progress.h"
#include "launch/engine/stop_point.h"
#include "launch/path/average_fork.h"
#include "launch/path/fork_point.h"
#include "launch/path/resumable.h"
#include "launch/path/saved_specification.h"
#include "launch/path/verify.h"
#include "parallel/comm/control_plane.h"

namespace switchyard {

namespace {

[[noreturn]] void refuse_damaged(const Origin& origin, const Error& problem) {
  if (origin.is_published) {
    throw Error(fmt::format("{}; this path begins with the weights of step {} of '{}'",
                            problem.what(), origin.entry.step, origin.folder.folder().string()),
                problem.code());
  }
  if (origin.is_parent) {
    throw Error(fmt::format("{}; this branch starts at step {} of '{}'", problem.what(),
                            origin.entry.step, origin.folder.folder().string()),
                problem.code());
  }
  const auto good = origin.folder.newest_good_below(origin.entry.step);
  throw Error(fmt::format("{}; step {} of '{}' cannot be used, {}", problem.what(),
                          origin.entry.step, origin.folder.folder().string(),
                          good ? fmt::format("the newest good one is step {}: give --load-step {}",
                                             *good, *good)
                               : "and no older step is good"),
              problem.code());
}

}  // namespace

Origin origin_at_fork(const RunFolder& branch, const PathSpecification& path) {
  const LineageEntry& fork = path.lineage.back();
  const auto point = find_fork_point(branch, fork);
  Origin origin{point.parent, point.entry, true};
  origin.is_published = fork.imported.has_value();
  origin.is_mean = fork.average || origin.is_published;
  if (!origin.is_mean) check_resumable(point.parent, point.entry);
  if (const auto member = member_with_moments(fork)) {
    const auto with_moments = find_fork_point(branch, *member);
    check_resumable(with_moments.parent, with_moments.entry);
    origin.moments = with_moments.entry;
  }
  return origin;
}

std::optional<Origin> find_origin(const RunFolder& run, const PathSpecification& path,
                                  const Settings& given) {
  const std::optional<int64_t> wanted =
      given.has("load-step") ? std::optional(given.integer("load-step")) : std::nullopt;
  const bool at_fork = !path.lineage.empty() && (wanted ? wanted == path.start_step() : true);
  const bool has_own = wanted && at_fork ? run.has(*wanted) : run.latest().has_value();
  if (has_own || (wanted && !at_fork)) {
    const auto entry = run.checkpoint(wanted);
    check_resumable(run, entry);
    return Origin{run, entry, false};
  }
  if (!wanted) run.check_none_saved();
  if (path.has_random_start()) return std::nullopt;
  return origin_at_fork(run, path);
}

SavedAverages find_averages(const std::optional<Origin>& origin, const PathSpecification& path,
                            Communicator& world) {
  if (!origin || origin->is_parent) return {};
  constexpr const char* document = "averages";
  CheckpointInfo info;
  world.control().agree([&] {
    if (world.rank() != 0) return;
    try {
      info = CheckpointReader(origin->entry.folder).info();
    } catch (const Error& problem) {
      refuse_damaged(*origin, problem);
    }
    check_saved_specification(
        path, info,
        fmt::format("step {} of '{}'", origin->entry.step, origin->folder.folder().string()));
  });
  const std::string text = world.control().broadcast(info.documents[document], document);
  SavedAverages found;
  world.control().agree([&] {
    info.step = origin->entry.step;
    info.documents.erase(document);
    if (!text.empty()) info.documents[document] = text;
    found = averages_in(info);
  });
  return found;
}

void load(const Origin& origin, const Mesh& mesh, Engine& engine, const SavedAverages& averages) {
  const int rank = mesh.world->rank(), ranks = mesh.world->size();
  std::optional<CheckpointReader> reader;
  std::vector<int32_t> checked;
  const auto attempt = [&](const std::function<void()>& body) {
    mesh.world->control().agree([&] {
      try {
        body();
      } catch (const Error& problem) {
        if (problem.code() == ExitCode::stopped) throw;
        refuse_damaged(origin, problem);
      }
    });
  };
  using Load = std::vector<int32_t> (SavedState::*)(const CheckpointReader&,
                                                    const std::function<void(int64_t)>&);
  const auto read = [&](const std::filesystem::path& folder, Load part) {
    attempt([&] { reader.emplace(folder, rank, ranks); });
    attempt([&] {
      Progress progress(fmt::format("reading step {}", reader->info().step),
                        reader->bytes() / ranks, rank == 0);
      checked = (engine.state().*part)(*reader, [&](int64_t bytes) {
        progress.add(bytes);
        stop_point();
      });
      const auto more = load_averages(*reader, averages, engine);
      for (size_t i = 0; i < checked.size(); ++i) checked[i] = std::max(checked[i], more[i]);
    });
    Stream host;
    mesh.world->all_reduce(std::span(checked), ReduceOp::max, host, {"checked pieces"}).wait(host);
    attempt([&] { verify_rest_with_progress(*reader, checked, rank, ranks); });
  };
  read(origin.entry.folder, origin.is_mean ? &SavedState::load_mean : &SavedState::load);
  if (origin.moments) {
    read(origin.moments->folder, &SavedState::load_rest);
  } else if (origin.is_mean) {
    engine.state().start_rest();
  }
  load_left_out_members(origin.folder, origin.step(), averages, mesh, engine);
  engine.gather_after_load();
}

bool keeps_fork_point(const RunFolder& run, const PathSpecification& path,
                      const std::optional<Origin>& origin, Communicator& world) {
  if (!origin || !origin->is_parent) return false;
  std::string own;
  world.control().agree([&] {
    if (world.rank() != 0) return;
    const auto& fork = path.lineage.back();
    if (origin->is_published) {
      pin_published(origin->folder, fork, run);
      return;
    }
    bool pinned = pin_fork_point(origin->folder, fork.step, fork.checkpoint, run);
    if (origin->moments) pinned &= pin_moments(run, fork);
    // Steps behind a mean can then be reached from a checkpoint of the branch's own.
    if (!pinned || origin->is_mean) own = "own";
  });
  return !world.control().broadcast(own, "what is kept").empty();
}

}  // namespace switchyard
