#include "launch/start.h"

#include <algorithm>

#include "core/error.h"
#include "core/logging.h"
#include "launch/path/average_option.h"
#include "launch/path/goal.h"
#include "launch/path/retention.h"
#include "launch/path/specification_checks.h"
#include "launch/replayed_fork.h"
#include "launch/tensorboard.h"
#include "launch/validation.h"
#include "parallel/comm/control_plane.h"
#include "parallel/comm/rendezvous/job_environment.h"

namespace switchyard {

namespace {

// Rank 0 holds the path's lock and reads for all.
LastStart last_start_of(const RunFolder& run, Communicator& world) {
  std::string line;
  LastStart last;
  int64_t largest = 0;  // rank 0 alone writes numbers
  world.control().agree([&] {
    if (world.rank() != 0) return;
    line = last_start_line(run.folder());
    largest = largest_start(run.folder());
  });
  line = world.control().broadcast(line, "the last start");
  world.control().agree([&] { last = parse_start(line); });
  last.number = std::max(last.number, largest);
  return last;
}

// Whether nothing is left to do, which is said. A step that is gone back to is loaded all the same,
// and what is saved behind it given up.
bool is_reached(const RunFolder& run, const PathSpecification& path, const Settings& given,
                const Settings& settings, int64_t step, const Communicator& world) {
  const auto reached = describe_reached(path, settings, step);
  if (reached.empty() || given.has("load-step")) return false;
  if (world.rank() == 0) log::info("'{}': {}", run.folder().string(), reached);
  return true;
}

// Refuses steps at the rate 0.
void check_learns(const PathSpecification& path, const Settings& settings, int64_t step) {
  const int64_t last = last_step(path, settings), end = path.decay_end();
  check(end == 0 || last <= std::max(end, step) || path.learns_behind_end(), "train",
        "--train-iters {}, but the decay ends at step {}, and the rate is 0 behind it; {} at most "
        "is allowed, and 'fork RUN@{} NEW --lr L' goes on",
        last, end, end, end);
}

// What is read from the start's step to the last one. A machine's first rank checks whole sets for
// all of its ranks; training sets of a new path were checked when it was made, by the first rank of
// all. Collective.
void open_data(Start& start, const PathSpecification& path, const Settings& given,
               const Settings& settings, bool is_checked, ControlPlane& control) {
  control.agree([&] {
    const bool leads = local_rank_of_process() == 0;
    start.data = std::make_unique<TrainingData>(
        open_training_data(path, start.step, last_step(path, settings),
                           leads && !is_checked ? SetCheck::all : SetCheck::header));
  });
  const char* remembered =
      "; --valid-data-path is as at the last start: give it anew, or --eval-interval 0, which "
      "forgets it";
  start.validation = open_validation(path, settings, *start.data, start.step, control,
                                     given.has("valid-data-path") ? "" : remembered);
}

// What the options ask for but this start will not come to, or what it comes to unasked.
void report_end(const PathSpecification& path, const Start& start, const Settings& given) {
  const Settings& settings = start.record.run;
  const int64_t last = last_step(path, settings), end = path.decay_end();
  if (end > 0 && last > end) {
    log::info("behind step {}, the decay's end, the rate stays at {:.6g} (--min-lr)", end,
              path.schedule.minimum);
  }
  if (const auto vain = describe_vain_retention(settings); given.has("keep-every") && !vain.empty())
    log::warning("{}", vain);
  if (given.flag("accept-replay") && !start.replay)
    log::warning("--accept-replay, but this start makes no step again");
  if (given.has("eval-iters") && settings.integer("eval-interval") == 0) {
    log::warning("--eval-iters {}, but nothing is validated: --eval-interval is 0",
                 given.text("eval-iters"));
  }
  if (given.has("valid-data-path") && settings.integer("eval-interval") > 0 &&
      !validates_behind(path, settings, start.step)) {
    log::warning("no validation is due up to step {} (--eval-interval {}); {} is not read", last,
                 settings.text("eval-interval"), show(given.list("valid-data-path")));
  }
}

std::string describe_replay(const ReplayPlan& plan) {
  const std::string origin =
      !plan.origin_run    ? "the random start"
      : plan.from_weights ? fmt::format("published weights ({})", plan.origin.folder.string())
                          : fmt::format("step {} ({})", plan.begin(), plan.origin.folder.string());
  return fmt::format("makes {} steps of '{}' again, from {} to step {}, and goes on from there",
                     plan.end() - plan.begin(), plan.segments.back().run, origin, plan.end());
}

// The first line: where this start goes on from, on which ranks, and what it was not given but
// takes over from the last one.
void report_origin(const RunFolder& run, const PathSpecification& path, const Start& start,
                   const std::string& remembered) {
  const std::string from =
      start.replay ? describe_replay(*start.replay)
      : start.origin && start.origin->is_published
          ? fmt::format("begins with published weights ({})", start.origin->entry.folder.string())
      : start.origin ? fmt::format("goes on from step {} ({})", start.step,
                                   start.origin->entry.folder.string())
                     : fmt::format("starts from random weights, seed {}", path.seeds.initial());
  log::info("{}", log::folded(
                      fmt::format("'{}' {} on {}, micro-batch {}{}{}", run.folder().string(), from,
                                  start.record.layout.to_string(), start.options.micro_batch,
                                  remembered.empty() ? "" : "; as before: ", remembered)));
}

void report_averages(const Start& start) {
  for (const AverageRecord& record : start.options.averages) {
    const bool goes_on =
        std::ranges::any_of(start.averages.records, [&](const AverageRecord& found) {
          return found.spec == record.spec && found.since == record.since;
        });
    log::info("average {} {} behind step {}", show(record.spec),
              goes_on ? "goes on; it began" : "begins", record.since);
  }
}

// Those of the checkpoint that is gone on from, as the options change them.
void settle_averages_found(Start& start, const Settings& given, Communicator& world) {
  world.control().agree(
      [&] { start.options.averages = settle_averages(start.averages.records, given, start.step); });
}

}  // namespace

std::optional<Start> prepare_start(const RunFolder& run, const ObtainedPath& obtained,
                                   const Settings& given, const Layout& layout,
                                   Communicator& world) {
  const PathSpecification& path = obtained.path;
  LastStart last = last_start_of(run, world);
  if (obtained.is_new) last.remembered = {};  // of what lay here before
  const bool begins_anew = path.lineage.empty() || path.begins_with_weights();
  const Settings settings = with_fallbacks(
      run_options(),
      with_remembered(given, last.remembered, begins_anew && path.split.has_validation_part()));
  Start start;
  start.replay = replay_due(run, path, world);
  world.control().agree([&] {
    if (!obtained.is_new && !start.replay) start.origin = find_origin(run, path, given);
    start.step = start.origin ? start.origin->step() : path.start_step();
    if (!start.origin || world.rank() != 0) return;
    for (const auto& damage : start.origin->damages) log::warning("{}", damage);
  });
  // Opens the step, so that none is taken for a goal that it has not reached.
  start.averages = find_averages(start.origin, path, world);
  const bool names_averages = given.has("average") || given.has("drop-average");
  if (names_averages) settle_averages_found(start, given, world);
  if (is_reached(run, path, given, settings, start.step, world)) {
    if (names_averages && world.rank() == 0) {
      log::warning("--average and --drop-average take effect with a step, and none is made");
    }
    world.control().agree([&] {
      if (world.rank() == 0) Retention(run, retention_options(settings)).end_begun();
    });
    return std::nullopt;
  }
  if (!names_averages) settle_averages_found(start, given, world);
  const auto averages = std::move(start.options.averages);
  world.control().agree([&] {
    start.options = engine_options(path, settings, true);
    start.options.averages = averages;
    check_engine(start.options, layout);
    check_learns(path, settings, start.step);
    if (world.rank() == 0) check_event_folder(run.folder(), given, settings);
  });
  open_data(start, path, given, settings, obtained.is_new && world.rank() == 0, world.control());
  world.control().agree([&] {
    start.data->note_epochs(world.rank() == 0);
    start.record = {last.number + 1, start.step, layout, start.options.device, settings};
    if (world.rank() != 0) return;
    report_origin(run, path, start, show_remembered(given, last.remembered));
    report_averages(start);
    report_end(path, start, given);
  });
  return start;
}

}  // namespace switchyard
