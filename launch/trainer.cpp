#include "launch/trainer.h"

#include <algorithm>
#include <charconv>
#include <chrono>

#include "core/error.h"
#include "core/logging.h"
#include "core/ops/attention/attention.h"
#include "core/ops/matmul/matmul_settings.h"
#include "launch/engine/matmul_choices.h"
#include "launch/engine/memory_plan.h"
#include "launch/engine/world.h"
#include "launch/job_peak.h"
#include "launch/path/fork_point.h"
#include "launch/path/obtain_path.h"
#include "launch/path/specification_checks.h"
#include "launch/path/starts.h"
#include "launch/path/verify.h"
#include "launch/training_loop.h"

namespace switchyard {

namespace {

std::vector<int> parse_stage_layers(const Settings& run) {
  std::vector<int> layers;
  if (!run.has("pipeline-layers")) return layers;
  const std::string& text = run.text("pipeline-layers");
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    int count = 0;
    const auto [stop, problem] = std::from_chars(text.data() + begin, text.data() + end, count);
    check(problem == std::errc() && stop == text.data() + end && count >= 0, "options",
          "--pipeline-layers {}; numbers of layers with commas between them are allowed", text);
    layers.push_back(count);
    begin = end + 1;
  }
  return layers;
}

ops::AttentionBackend backend_named(const std::string& name) {
  if (name == "auto") return ops::AttentionBackend::automatic;
  if (name == "own") return ops::AttentionBackend::own;
  check(name == "cudnn", "options",
        "--attention-backend {}; auto, own or cudnn is allowed: each is fused (flash) attention",
        name);
  return ops::AttentionBackend::cudnn;
}

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
  agree_on_errors(world, [&] {
    if (world.rank() != 0) return;
    line = last_start_line(run.folder());
    largest = largest_start(run.folder());
  });
  line = broadcast_text(world, line);
  agree_on_errors(world, [&] { last = parse_start(line); });
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

// What is read from the start's step to the last one.
void open_data(Start& start, const PathSpecification& path, const Settings& given,
               const Settings& settings) {
  start.data = std::make_unique<TrainingData>(
      open_training_data(path, start.step, last_step(path, settings)));
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
  agree_on_errors(*mesh.world, [&] {
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

void load(const Origin& origin, const Mesh& mesh, Engine& engine) {
  agree_on_errors(*mesh.world, [&] {
    try {
      const CheckpointReader reader(origin.entry.folder);
      verify_with_progress(reader, mesh.world->rank(), mesh.world->size());
      engine.load_training_state(reader);
    } catch (const Error& problem) {
      refuse_damaged(origin, problem);
    }
  });
  engine.gather_after_load();
}

// At a branch's start from its parent: whether it has to keep the fork point itself, as nothing can
// be written into the parent.
bool keeps_fork_point(const RunFolder& run, const PathSpecification& path, const Start& start,
                      Communicator& world) {
  if (!start.origin || !start.origin->is_parent) return false;
  std::string own;
  agree_on_errors(world, [&] {
    if (world.rank() != 0) return;
    const auto& fork = path.lineage.back();
    if (!pin_fork_point(start.origin->folder, fork.step, fork.checkpoint, run)) own = "own";
  });
  return !broadcast_text(world, own).empty();
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

void check_run_options(const Settings& run) {
  for (const char* name :
       {"save-interval", "keep-checkpoints", "eval-interval", "head-chunk-size"}) {
    check(run.integer(name) >= 0, "options", "--{} {}; 0 or more is allowed", name, run.text(name));
  }
  check(
      !run.has("load-step") || run.integer("load-step") != 0, "options",
      "--load-step 0 is the random start, of which nothing is saved; 'fork RUN@0 NEW' makes a path "
      "that starts there anew");
  for (const char* name : {"train-iters", "load-step", "log-interval", "eval-iters"}) {
    check(!run.has(name) || run.integer(name) >= 1, "options", "--{} {}; at least 1 is allowed{}",
          name, run.has(name) ? run.text(name) : "",
          name == std::string("eval-iters") ? " (--eval-interval 0 validates nothing)" : "");
  }
  distributed_timeout(run);
}

std::chrono::minutes distributed_timeout(const Settings& run) {
  const char* name = "distributed-timeout-minutes";
  const int64_t minutes = run.has(name) ? run.integer(name) : 10;
  constexpr int64_t most = 60 * 24 * 365;
  check(minutes >= 1 && minutes <= most, "options", "--{} {}; 1 to {} is allowed", name, minutes,
        most);
  return std::chrono::minutes(minutes);
}

Device device_of(const Settings& run) {
  if (run.flag("tp-comm-overlap")) order_launches();
  if (!run.has("device")) return is_available(Device::cuda) ? Device::cuda : Device::cpu;
  const Device device = device_named(run.text("device"));
  check(is_available(device), "options", "--device {}; this build and machine have: cpu",
        name_of(device));
  return device;
}

void apply_device_settings(const Settings& run) {
  ops::set_attention_backend(backend_named(run.text("attention-backend")));
  ops::set_allow_tf32(run.flag("allow-tf32"));
}

EngineOptions engine_options(const PathSpecification& path, const Settings& run, bool training) {
  EngineOptions o;
  o.model = path.model;
  o.dtype = path.dtype();
  o.sequence_length = path.sequence_length();
  o.micro_batch = run.integer("micro-batch-size");
  o.global_batch = path.global_batch();
  o.pipeline_layers = parse_stage_layers(run);
  o.seed = path.seed();
  o.training = training;
  o.device = device_of(run);
  o.head_chunk = run.integer("head-chunk-size");
  o.deterministic = !run.flag("no-deterministic");
  o.cuda_graph = training && run.flag("cuda-graph");
  if (o.cuda_graph) o.step_limit = distributed_timeout(run);
  const int64_t chunks = run.integer("tp-comm-chunks");
  check(chunks >= 1, "options", "--tp-comm-chunks {}; at least 1 is allowed", chunks);
  if (run.flag("tp-comm-overlap")) o.exchange_chunks = chunks;
  // Whatever a path was trained in, its weights are read as what the device computes with.
  if (!training && o.dtype == DType::f16 && o.device == Device::cpu) o.dtype = DType::f32;
  if (path.dtype() == DType::f16) {
    o.optimizer.scaling = {.dynamic = true,
                           .initial = static_cast<float>(path.settings.real("initial-loss-scale")),
                           .least = static_cast<float>(path.settings.real("min-loss-scale")),
                           .window = path.settings.integer("loss-scale-window"),
                           .hysteresis = path.settings.integer("hysteresis")};
  }
  o.optimizer.clip_norm = path.settings.real("clip-grad");
  auto& adam = o.optimizer.adamw;
  adam.beta1 = path.settings.real("adam-beta1");
  adam.beta2 = path.settings.real("adam-beta2");
  adam.epsilon = path.settings.real("adam-eps");
  adam.weight_decay = path.settings.real("weight-decay");
  return o;
}

ExitCode train(const std::string& folder, const Settings& given, Communicator& world) {
  const StopSignal signals;
  const RunFolder run(folder);
  Settings settings;
  Layout layout;
  agree_on_errors(world, [&] {
    settings = with_fallbacks(run_options(), given);
    check_run_options(settings);
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
  agree_on_errors(world, [&] {
    check_run_options(settings);
    if (!is_new) start.origin = find_origin(run, path, given);
    start.step = start.origin ? start.origin->entry.step : path.start_step();
  });
  if (is_reached(run, path, given, settings, start.step, world)) return ExitCode::reached;
  agree_on_errors(world, [&] {
    start.options = engine_options(path, settings, true);
    check_engine(start.options, layout);
    check_learns(path, settings, start.step);
    open_data(start, path, given, settings);
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
  agree_on_errors(world, [&] {
    if (world.rank() != 0) return;
    if (is_new) settle_new(run, path, lock);
    if (times_products) keep_matmul_choices(run.folder());
  });
  if (start.origin) load(*start.origin, mesh, *engine);
  report_start(path, start, mesh, *engine);
  engine->rehearse();
  agree_on_errors(world, [&] {  // steps behind the origin are given up once all else has succeeded
    if (world.rank() == 0 && start.origin) run.discard_behind(start.origin->entry.step);
  });
  TrainingLoop loop(run, path, settings, mesh, *engine, *start.data, start.validation, start.record,
                    peak);
  if (keeps) loop.save_origin(CheckpointReader(start.origin->entry.folder).info());
  return loop.run();
}

}  // namespace switchyard
