#include "launch/reshard/step_source.h"

#include "core/error.h"
#include "launch/path/fork_point.h"
#include "launch/path/relative_name.h"
#include "parallel/checkpoint/moments.h"

namespace switchyard {

namespace {

// Whether the step is the fork point of a branch that has no copy of it.
bool is_parents(const RunFolder& run, const PathSpecification& path, std::optional<int64_t> step) {
  if (path.kind != "path" || path.lineage.empty()) return false;
  const int64_t start = path.start_step();
  return start > 0 && (step ? *step == start && !run.has(start) : !run.latest());
}

ForkPoint parents_step(const RunFolder& run, const LineageEntry& fork) {
  const std::string name = run.folder().string();
  check(!fork.replayed, "reshard",
        "step {} of '{}' is not saved yet: the first start of the branch makes it again and saves "
        "it; 'train {}' comes first",
        fork.step, name, name);
  check(!fork.average, "reshard",
        "step {} of '{}' is not saved yet: the branch begins with the weights of an average and "
        "other moments, which its first start saves; 'train {}' comes first",
        fork.step, name, name);
  return find_fork_point(run, fork);
}

}  // namespace

std::string StepSource::name() const {
  return fmt::format("{}@{}", run.folder().string(), entry.step);
}

SavedAverages StepSource::averages() const {
  return at_fork ? SavedAverages{} : averages_in(info());
}

StepSource find_step(const RunReference& reference) {
  const RunFolder run(reference.folder);
  auto path = run.read();
  StepSource source{run, std::move(path), run, {}, false, nullptr, {}};
  if (is_parents(run, source.path, reference.step)) {
    const ForkPoint point = parents_step(run, source.path.lineage.back());
    source.holder = point.parent;
    source.entry = point.entry;
    source.at_fork = true;
  } else {
    source.entry = run.checkpoint(reference.step);
  }
  source.step = std::make_unique<ReadOnce>(source.entry.folder);
  return source;
}

void open_members(StepSource& source) {
  for (const LeftOutMember& member : source.averages().left_out) {
    if (member.checkpoint.empty()) continue;
    const std::string run = source.run.folder().string();
    check(source.run.has(member.step), "reshard",
          "averages of {} need the weights of step {}, which is not saved in '{}' any more; "
          "--weights-only is allowed",
          source.name(), member.step, run);
    auto open = std::make_unique<ReadOnce>(source.run.checkpoint(member.step).folder);
    check(open->reader.info().id == member.checkpoint, "reshard",
          "averages of {} need checkpoint {} of step {}, but {} is in '{}'; --weights-only is "
          "allowed",
          source.name(), member.checkpoint, member.step, open->reader.info().id, run);
    source.members[member.step] = std::move(open);
  }
}

void verify_rest(const StepSource& source) {
  const auto rest = [](const ReadOnce& read) {
    read.reader.verify_rest(read.reads.checked_or_unread());
  };
  rest(*source.step);
  for (const auto& [step, member] : source.members) rest(*member);
}

void check_still_there(const StepSource& source, bool with_moments) {
  const auto check_step = [&](const RunFolder& run, int64_t step, const std::string& id) {
    const std::string name = run.folder().string();
    check(run.has(step), ExitCode::storage, "reshard",
          "step {} of '{}' was deleted while it was read; a trainer with --keep-checkpoints "
          "deletes the oldest: a step that stays is allowed",
          step, name);
    const std::string there = CheckpointReader(run.checkpoint(step).folder).info().id;
    check(there == id, ExitCode::storage, "reshard",
          "step {} of '{}' was saved anew while it was read; the same command again takes what is "
          "there now",
          step, name);
  };
  check_step(source.holder, source.entry.step, source.info().id);
  check(!with_moments || has_moments(source.entry), ExitCode::storage, "reshard",
        "the moments of step {} of '{}' were taken away while they were read (--keep-moments); a "
        "newer step is allowed",
        source.entry.step, source.holder.folder().string());
  for (const auto& [step, member] : source.members)
    check_step(source.run, step, member->reader.info().id);
}

}  // namespace switchyard
