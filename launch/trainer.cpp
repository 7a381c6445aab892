#include "launch/trainer.h"

#include <algorithm>
#include <chrono>

#include "core/error.h"
#include "core/logging.h"
#include "core/stop_signal.h"
#include "data/progress.h"
#include "launch/engine/matmul_choices.h"
#include "launch/engine/memory_plan.h"
#include "launch/engine/world.h"
#include "launch/job_peak.h"
#include "launch/path/fork_point.h"
#include "launch/path/obtain_path.h"
#include "launch/path/retention.h"
#include "launch/path/run_settings.h"
#include "launch/path/specification_checks.h"
#include "launch/path/starts.h"
#include "launch/path/verify.h"
#include "launch/training_loop.h"
#include "parallel/comm/rendezvous/job_environment.h"

namespace switchyard {

namespace {

// Where this start goes on from; nothing for a random start.
struct Origin {
  RunFolder folder;
  CheckpointEntry entry;
  bool is_parent = false;
};

// The branch's own copy of its fork point is taken before the parent's.
std::optional<Origin> find_origin(const RunFolder& run, const PathSpecification& path,
                                  const Settings& given) {
  const std::optional<int64_t> wanted =
      given.has("load-step") ? std::optional(given.integer("load-step")) : std::nullopt;
  const bool at_fork = !path.lineage.empty() && (wanted ? wanted == path.start_step() : true);
  const bool has_own = wanted && at_fork ? run.has(*wanted) : run.latest().has_value();
  if (has_own || (wanted && !at_fork)) return Origin{run, run.checkpoint(wanted), false};
  if (path.start_step() == 0) return std::nullopt;
  const auto point = find_fork_point(run, path.lineage.back());
  return Origin{point.parent, point.entry, true};
}

// What a start needs beside the path and ranks.
struct Start {
  EngineOptions options;
  std::optional<Origin> origin;
  int64_t step = 0;  // the last one that is done
  std::unique_ptr<TrainingData> data;
  std::vector<ValidationSource> validation;
  StartRecord record;
};

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

// What is read from the start's step to the last one. A machine's first rank checks whole training
// sets for all of its ranks; those of a new path were checked when it was made, by the first rank
// of all.
void open_data(Start& start, const PathSpecification& path, const Settings& given,
               const Settings& settings, bool is_checked) {
  const bool leads = local_rank_of_process() == 0;
  start.data = std::make_unique<TrainingData>(
      open_training_data(path, start.step, last_step(path, settings),
                         leads && !is_checked ? SetCheck::all : SetCheck::header));
  try {
    start.validation = open_validation(path, settings, *start.data, start.step);
  } catch (const Error& problem) {
    if (given.has("valid-data-path") || !settings.has("valid-data-path")) throw;
    throw Error(fmt::format("{}; --valid-data-path is as at the last start: give it anew, or "
                            "--eval-interval 0, which forgets it",
                            problem.what()),
                problem.code());
  }
}

// What the options ask for but this start will not come to, or what it comes to unasked.
void report_end(const PathSpecification& path, const Start& start, const Settings& given) {
  const Settings& settings = start.record.run;
  const int64_t last = last_step(path, settings), end = path.decay_end();
  if (end > 0 && last > end) {
    log::info("behind step {}, the decay's end, the rate stays at {:.6g} (--min-lr)", end,
              path.schedule.minimum);
  }
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

void name_thread(const Mesh& mesh) {
  if (mesh.world->size() == 1) return;
  set_thread_label(fmt::format("rank {}: tp {} pp {} dp {}", mesh.world->rank(), mesh.place.tp,
                               mesh.place.pp, mesh.place.dp));
}

std::unique_ptr<Engine> make_engine(const Start& start, const Mesh& mesh,
                                    const PathSpecification& path) {
  std::unique_ptr<Engine> engine;
  mesh.world->control().agree([&] {
    engine = std::make_unique<Engine>(start.options, mesh);
    if (!start.origin) engine->initialize(path.seeds.initial());
  });
  return engine;
}

[[noreturn]] void refuse_damaged(const Origin& origin, const Error& problem) {
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

// What a rank reads is checked on the way; what nobody has read whole, each then checks a part of.
void load(const Origin& origin, const Mesh& mesh, Engine& engine) {
  const int rank = mesh.world->rank(), ranks = mesh.world->size();
  std::optional<CheckpointReader> reader;
  std::vector<int32_t> checked;
  const auto attempt = [&](const std::function<void()>& body) {
    mesh.world->control().agree([&] {
      try {
        body();
      } catch (const Error& problem) {
        refuse_damaged(origin, problem);
      }
    });
  };
  attempt([&] {
    reader.emplace(origin.entry.folder);
    Progress progress(fmt::format("reading step {}", reader->info().step), reader->bytes() / ranks,
                      rank == 0);
    checked = engine.load_training_state(*reader, [&](int64_t bytes) { progress.add(bytes); });
  });
  Stream host;
  mesh.world->all_reduce(std::span(checked), ReduceOp::max, host, {"checked pieces"}).wait(host);
  attempt([&] { verify_rest_with_progress(*reader, checked, rank, ranks); });
  engine.gather_after_load();
}

// At a branch's start from its parent: whether it has to keep the fork point itself, as nothing can
// be written into the parent.
bool keeps_fork_point(const RunFolder& run, const PathSpecification& path, const Start& start,
                      Communicator& world) {
  if (!start.origin || !start.origin->is_parent) return false;
  std::string own;
  world.control().agree([&] {
    if (world.rank() != 0) return;
    const auto& fork = path.lineage.back();
    if (!pin_fork_point(start.origin->folder, fork.step, fork.checkpoint, run)) own = "own";
  });
  return !world.control().broadcast(own, "what is kept").empty();
}

void report_memory(const EngineOptions& options, const Mesh& mesh) {
  std::string text;
  for (const MemoryLine& line : plan_memory(options, mesh.layout, mesh.place).ours) {
    text += fmt::format("{}{} {:.1f} MiB", text.empty() ? "" : ", ", line.purpose,
                        static_cast<double>(line.bytes) / (1 << 20));
  }
  log::info("{}", log::folded("memory of the first rank: " + text));
}

void report_device(const Engine& engine) {
  if (engine.device() == Device::cpu) {
    log::info("computing on the CPU");
    return;
  }
  const GpuDescription gpu = describe_gpu();
  log::info("computing on GPU {}: {}, {:.1f} of {:.1f} GiB free", gpu.index, gpu.name,
            static_cast<double>(gpu.free_bytes) / (1 << 30),
            static_cast<double>(gpu.total_bytes) / (1 << 30));
}

// The first line: where this start goes on from, on which ranks, and what it was not given but
// takes over from the last one.
void report_origin(const RunFolder& run, const PathSpecification& path, const Start& start,
                   const std::string& remembered) {
  const std::string from =
      start.origin ? fmt::format("goes on from step {} ({})", start.step,
                                 start.origin->entry.folder.string())
                   : fmt::format("starts from random weights, seed {}", path.seeds.initial());
  log::info("{}", log::folded(
                      fmt::format("'{}' {} on {}, micro-batch {}{}{}", run.folder().string(), from,
                                  start.record.layout.to_string(), start.options.micro_batch,
                                  remembered.empty() ? "" : "; as before: ", remembered)));
}

void report_start(const PathSpecification& path, const Start& start, const Mesh& mesh,
                  const Engine& engine) {
  if (mesh.world->rank() != 0) return;
  log::info("{} parameters, {} tokens a step", path.model.parameters(),
            path.global_batch() * path.sequence_length());
  for (const auto& line : start.data->describe()) log::info("{}", line);
  report_device(engine);
  report_memory(start.options, mesh);
}

}  // namespace

ExitCode train(const std::string& folder, const Settings& given, Communicator& world) {
  const StopSignal signals;
  const RunFolder run(folder);
  Settings settings;
  Layout layout;
  world.control().agree([&] {
    settings = with_fallbacks(run_options(), given);
    apply_device_settings(settings);
    layout = layout_of(world.size(), settings.integer("tensor-model-parallel-size"),
                       settings.integer("pipeline-model-parallel-size"));
  });
  bool is_new = false;
  std::unique_ptr<PathLock> lock;
  const auto path = obtain_path(run, given, is_new, lock, world);
  const LastStart last = last_start_of(run, world);
  settings = with_fallbacks(
      run_options(), with_remembered(given, last.remembered,
                                     path.lineage.empty() && path.split.has_validation_part()));
  Start start;
  world.control().agree([&] {
    if (!is_new) start.origin = find_origin(run, path, given);
    start.step = start.origin ? start.origin->entry.step : path.start_step();
  });
  if (is_reached(run, path, given, settings, start.step, world)) return ExitCode::reached;
  world.control().agree([&] {
    start.options = engine_options(path, settings, true);
    check_engine(start.options, layout);
    check_learns(path, settings, start.step);
    open_data(start, path, given, settings, is_new && world.rank() == 0);
    start.data->log_epochs(world.rank() == 0);
    start.record = {last.number + 1, start.step, layout, start.options.device, settings};
    if (world.rank() != 0) return;
    report_origin(run, path, start, show_remembered(given, last.remembered));
    report_end(path, start, given);
  });
  const bool keeps = keeps_fork_point(run, path, start, world);
  const Mesh mesh = make_mesh(layout, world);
  name_thread(mesh);
  const JobPeak peak = job_peak(mesh, start.options);
  const bool on_gpu = start.options.device == Device::cuda;
  const bool times_products = on_gpu && !settings.flag("no-matmul-tuning");
  if (times_products) {
    settle_matmul_choices(run.folder(), start.options, mesh, start.origin.has_value());
  } else if (on_gpu && start.origin && has_matmul_choices(run.folder())) {
    log::warning("--no-matmul-tuning, but '{}' has timed choices; bits may differ from before",
                 run.folder().string());
  }
  const auto engine = make_engine(start, mesh, path);
  world.control().agree([&] {
    if (world.rank() != 0) return;
    if (is_new) settle_new(run, path, lock);
    if (times_products) keep_matmul_choices(run.folder());
  });
  if (start.origin) load(*start.origin, mesh, *engine);
  report_start(path, start, mesh, *engine);
  engine->rehearse();
  world.control().agree([&] {  // steps behind the origin are given up once all else has succeeded
    if (world.rank() == 0 && start.origin) discard_behind(run, start.origin->entry.step);
  });
  TrainingLoop loop(run, path, settings, mesh, *engine, *start.data, start.validation, start.record,
                    peak);
  if (keeps) loop.save_origin(CheckpointReader(start.origin->entry.folder).info());
  return loop.run();
}

}  // namespace switchyard
