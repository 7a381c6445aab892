#include "launch/origin.h"

#include <algorithm>

#include "core/error.h"
#include "core/logging.h"
#include "core/printable.h"
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

[[noreturn]] void refuse_damaged_moments(const ForkPoint& moments, const Error& problem) {
  throw Error(fmt::format("{}; this branch takes its moments from step {} of '{}'", problem.what(),
                          moments.entry.step, moments.parent.folder().string()),
              problem.code());
}

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

OtherCopies other_copies(const RunFolder& branch, const LineageEntry& fork, const ForkPoint& found,
                         bool with_moments) {
  return [=, known = std::vector{found.parent.folder()}]() mutable {
    auto copy = find_other_copy(branch, fork, known, with_moments);
    if (copy) known.push_back(copy->parent.folder());
    return copy;
  };
}

Origin origin_at_fork(const RunFolder& branch, const PathSpecification& path) {
  const LineageEntry& fork = path.lineage.back();
  const auto point = find_fork_point(branch, fork);
  Origin origin{point.parent, point.entry, true};
  origin.another = other_copies(branch, fork, point, !fork.average && !fork.imported);
  origin.is_published = fork.imported.has_value();
  origin.is_mean = fork.average || origin.is_published;
  if (!origin.is_mean) check_resumable(point.parent, point.entry);
  if (const auto member = member_with_moments(fork)) {
    origin.moments = find_fork_point(branch, *member);
    check_resumable(origin.moments->parent, origin.moments->entry);
    origin.another_of_moments = other_copies(branch, *member, *origin.moments, true);
  }
  if (point.damage) origin.damages.push_back(describe_damage(point));
  if (origin.moments && origin.moments->damage)
    origin.damages.push_back(describe_damage(*origin.moments));
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

namespace {

using Load = std::vector<int32_t> (SavedState::*)(const CheckpointReader&,
                                                  const std::function<void(int64_t)>&);
using Refuse = std::function<void(const Error& problem)>;  // throws what is said of it

// A checkpoint's part in the state, and all of its checksums.
void read_step(const std::filesystem::path& folder, Load part, const Refuse& refuse,
               const Mesh& mesh, Engine& engine, const SavedAverages& averages) {
  const int rank = mesh.world->rank(), ranks = mesh.world->size();
  std::optional<CheckpointReader> reader;
  std::vector<int32_t> checked;
  const auto attempt = [&](const std::function<void()>& body) {
    mesh.world->control().agree([&] {
      try {
        body();
      } catch (const Error& problem) {
        if (problem.code() == ExitCode::stopped) throw;
        refuse(problem);
      }
    });
  };
  attempt([&] { reader.emplace(folder, rank, ranks); });
  attempt([&] {
    Progress progress(fmt::format("reading step {}", reader->info().step), reader->bytes() / ranks,
                      rank == 0);
    checked = (engine.state().*part)(*reader, [&](int64_t bytes) {
      progress.add(bytes);
      stop_point();
    });
  });
  attempt([&] {
    const auto more = load_averages(*reader, averages, mesh, engine);
    for (size_t i = 0; i < checked.size(); ++i) checked[i] = std::max(checked[i], more[i]);
  });
  Stream host;
  mesh.world->all_reduce(std::span(checked), ReduceOp::max, host, {"checked pieces"}).wait(host);
  attempt([&] { verify_rest_with_progress(*reader, checked, rank, ranks); });
}

// As rank 0 finds it. Collective.
bool take_another_copy(RunFolder& parent, CheckpointEntry& entry, const OtherCopies& another,
                       Communicator& world) {
  std::string place;
  world.control().agree([&] {
    if (world.rank() != 0 || !another) return;
    if (const auto copy = another()) place = copy->parent.folder().string();
  });
  place = world.control().broadcast(place, "another copy");
  if (place.empty()) return false;
  if (world.rank() == 0) {
    log::warning("step {} of '{}' is damaged; its copy in '{}' is read instead", entry.step,
                 printable(parent.folder().string()), printable(place));
  }
  world.control().agree([&] {
    parent = RunFolder(place);
    entry = parent.checkpoint(entry.step);
  });
  return true;
}

// Until `read` ends well; returns whether another copy was needed.
bool read_whole_copy(RunFolder& parent, CheckpointEntry& entry, const OtherCopies& another,
                     Communicator& world, const std::function<void()>& read) {
  for (bool is_first = true;; is_first = false) {
    try {
      read();
      return !is_first;
    } catch (const AgreedError& problem) {
      const bool is_damaged = problem.code() == ExitCode::storage;
      if (!is_damaged || !take_another_copy(parent, entry, another, world)) throw;
    }
  }
}

bool read_origin(Origin& origin, const Mesh& mesh, Engine& engine, const SavedAverages& averages) {
  const Load part = origin.is_mean ? &SavedState::load_mean : &SavedState::load;
  const Refuse refuse = [&](const Error& problem) { refuse_damaged(origin, problem); };
  return read_whole_copy(origin.folder, origin.entry, origin.another, *mesh.world, [&] {
    read_step(origin.entry.folder, part, refuse, mesh, engine, averages);
  });
}

void read_moments(Origin& origin, const Mesh& mesh, Engine& engine, const SavedAverages& averages) {
  ForkPoint& moments = *origin.moments;
  const Refuse refuse = [&](const Error& problem) { refuse_damaged_moments(moments, problem); };
  read_whole_copy(moments.parent, moments.entry, origin.another_of_moments, *mesh.world, [&] {
    read_step(moments.entry.folder, &SavedState::load_rest, refuse, mesh, engine, averages);
  });
}

}  // namespace

bool load(Origin& origin, const Mesh& mesh, Engine& engine, const SavedAverages& averages) {
  const bool is_another = read_origin(origin, mesh, engine, averages);
  if (origin.moments) {
    read_moments(origin, mesh, engine, averages);
  } else if (origin.is_mean) {
    engine.state().start_rest();
  }
  load_left_out_members(origin.folder, origin.step(), averages, mesh, engine);
  engine.gather_after_load();
  return is_another;
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
