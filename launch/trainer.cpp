#include "launch/trainer.h"

#include <algorithm>
#include <charconv>
#include <chrono>

#include "core/error.h"
#include "core/logging.h"
#include "core/ops/attention.h"
#include "core/ops/matmul_settings.h"
#include "launch/matmul_choices.h"
#include "launch/matrix_rate.h"
#include "launch/memory_plan.h"
#include "launch/training_loop.h"
#include "launch/world.h"

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
  check(name == "cudnn", "options", "--attention-backend {}; auto, own or cudnn is allowed", name);
  return ops::AttentionBackend::cudnn;
}

// Rank 0 locks and reads the path, or makes a new one; every rank gets the same text.
PathSpecification obtain_path(const RunFolder& run, const Settings& given, bool& is_new,
                              std::unique_ptr<PathLock>& lock, Communicator& world) {
  std::string text;
  agree_on_errors(world, [&] {
    if (world.rank() != 0) return;
    if (run.exists()) {
      lock = std::make_unique<PathLock>(run);
      auto path = run.read();
      check(path.kind == "path", "train",
            "'{}' is an average; it has weights only and is never "
            "trained on",
            run.folder().string());
      const std::string before = path.to_json();
      check_against(path, given);
      text = path.to_json();
      // Known by its identity, a set that moved is settled at once: those of another stage may have
      // moved elsewhere, and only one stage can be given at a time.
      if (text != before) run.write(path);
    } else {
      check(given.has("data-path"), "path",
            "there is no path in '{}'; a new one needs --data-path (is the name right?)",
            run.folder().string());
      check(!given.has("load-step"), "path",
            "--load-step {}, but there is no path in '{}' yet; leave it out for a new one",
            given.has("load-step") ? given.text("load-step") : "", run.folder().string());
      run.check_unused();
      text = "new " + new_path(given).to_json();
    }
  });
  text = broadcast_text(world, text);
  is_new = text.starts_with("new ");
  return PathSpecification::from_json(is_new ? text.substr(4) : text, "the path of rank 0");
}

// Everything was checked: a new path is written.
void settle_new(const RunFolder& run, const PathSpecification& path,
                std::unique_ptr<PathLock>& lock) {
  lock = std::make_unique<PathLock>(run);
  check(!run.exists(), "path", "'{}' was made by another process at this moment",
        run.folder().string());
  run.write(path);
}

// Where this start goes on from; nothing for a random start.
struct Origin {
  RunFolder folder;
  CheckpointEntry entry;
  bool is_parent = false;
};

std::optional<Origin> find_origin(const RunFolder& run, const PathSpecification& path,
                                  const Settings& given) {
  const std::optional<int64_t> wanted =
      given.has("load-step") ? std::optional(given.integer("load-step")) : std::nullopt;
  const bool at_fork =
      !path.lineage.empty() && (wanted ? wanted == path.start_step() : !run.latest());
  if (!at_fork && (wanted || run.latest())) return Origin{run, run.checkpoint(wanted), false};
  if (path.start_step() == 0) return std::nullopt;
  const auto& fork = path.lineage.back();
  const RunFolder parent((run.folder() / fork.path).lexically_normal());
  const auto entry = parent.checkpoint(fork.step);
  const std::string id = CheckpointReader(entry.folder).info().id;
  check(id == fork.checkpoint, "fork",
        "step {} of '{}' is checkpoint {}; this branch was forked "
        "from {}",
        fork.step, parent.folder().string(), id, fork.checkpoint);
  return Origin{parent, entry, true};
}

// What a start needs beside the path and ranks.
struct Start {
  EngineOptions options;
  std::optional<Origin> origin;
  int64_t step = 0;  // the last one that is done
  std::unique_ptr<TrainingData> data;
  std::unique_ptr<EvaluationData> validation;
};

void open_data(Start& start, const RunFolder& run, const PathSpecification& path,
               const Settings& given, const Settings& settings, bool is_new) {
  start.data = std::make_unique<TrainingData>(open_training_data(path));
  if (!is_new) start.origin = find_origin(run, path, given);
  start.step = start.origin ? start.origin->entry.step : path.start_step();
  start.validation = open_validation(path, settings, *start.data, start.step);
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
                            origin.entry.step, origin.folder.folder().string()));
  }
  const auto good = origin.folder.newest_good_below(origin.entry.step);
  throw Error(fmt::format(
      "{}; step {} of '{}' cannot be used, {}", problem.what(), origin.entry.step,
      origin.folder.folder().string(),
      good ? fmt::format("the newest good one is step {}: give --load-step {}", *good, *good)
           : "and no older step is good"));
}

void load(const Origin& origin, const Mesh& mesh, Engine& engine) {
  agree_on_errors(*mesh.world, [&] {
    try {
      const CheckpointReader reader(origin.entry.folder);
      reader.verify(mesh.world->rank(), mesh.world->size());
      engine.load_training_state(reader);
    } catch (const Error& problem) {
      refuse_damaged(origin, problem);
    }
  });
  engine.gather_after_load();
}

// A product that lasts at least half a millisecond, and so tells a GPU's rate; the same on all
// ranks.
int64_t peak_size(const Mesh& mesh, const EngineOptions& options, ops::Context context) {
  if (options.device == Device::cpu) return 1024;
  constexpr double shortest = 5e-4;
  double size = 256;
  for (bool grows = true; grows && size < 8192;) {
    MatrixRate rate(static_cast<int64_t>(size), options.dtype, options.device);
    rate.measure(context);  // the first call makes plans
    const double operations = MatrixRate::operations(static_cast<int64_t>(size));
    grows = operations / rate.measure(context) < shortest;
    if (grows) size *= 2;
  }
  Stream host;
  mesh.world->all_reduce(std::span<double>(&size, 1), ReduceOp::max, host, {"matrix rate"})
      .wait(host);
  return static_cast<int64_t>(size);
}

// What the machine gives this job while all ranks compute: their products over the time of the
// slowest, so that ranks that share a core count it once.
double measure_peak(const Mesh& mesh, const EngineOptions& options) {
  Stream stream(options.device);
  Scratch scratch(options.device);
  const ops::Context context{stream, scratch};
  const int64_t size = peak_size(mesh, options, context);
  const int products = size > 1024 ? 20 : 3;
  MatrixRate rate(size, options.dtype, options.device);
  double best = 0;
  for (int round = 0; round < 4; ++round) {
    mesh.world->barrier({"matrix rate"});
    const auto begin = std::chrono::steady_clock::now();
    rate.measure(context, products);
    mesh.world->barrier({"matrix rate"});
    const auto time = std::chrono::steady_clock::now() - begin;
    best = std::max(best, mesh.world->size() * products * MatrixRate::operations(size) /
                              std::chrono::duration<double>(time).count());
  }
  return best;
}

void report_memory(const EngineOptions& options, const Mesh& mesh) {
  std::string text;
  for (const MemoryLine& line : plan_memory(options, mesh.layout, mesh.place).ours) {
    text += fmt::format("{}{} {:.1f} MiB", text.empty() ? "" : ", ", line.purpose,
                        static_cast<double>(line.bytes) / (1 << 20));
  }
  log::info("memory of the first rank: {}", text);
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

void report_start(const PathSpecification& path, const Start& start, const Mesh& mesh,
                  const Engine& engine) {
  if (mesh.world->rank() != 0) return;
  log::info("{} parameters, {}, {} tokens a step", path.model.parameters(), mesh.layout.to_string(),
            path.global_batch() * path.sequence_length());
  for (const auto& line : start.data->describe()) log::info("{}", line);
  if (!start.origin) {
    log::info("starting from random weights, seed {}", path.seeds.initial());
  } else {
    log::info("going on from step {} of '{}'", start.origin->entry.step,
              start.origin->folder.folder().string());
  }
  report_device(engine);
  report_memory(start.options, mesh);
}

}  // namespace

void check_run_options(const Settings& run) {
  for (const char* name :
       {"save-interval", "keep-checkpoints", "eval-interval", "head-chunk-size"}) {
    check(run.integer(name) >= 0, "options", "--{} {}; 0 or more is allowed", name, run.text(name));
  }
  for (const char* name : {"log-interval", "eval-iters"}) {
    check(run.integer(name) >= 1, "options", "--{} {}; at least 1 is allowed", name,
          run.text(name));
  }
  for (const char* name : {"train-iters", "load-step"}) {
    check(!run.has(name) || run.integer(name) >= 1, "options", "--{} {}; at least 1 is allowed",
          name, run.has(name) ? run.text(name) : "");
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
  adam.beta1 = static_cast<float>(path.settings.real("adam-beta1"));
  adam.beta2 = static_cast<float>(path.settings.real("adam-beta2"));
  adam.epsilon = static_cast<float>(path.settings.real("adam-eps"));
  adam.weight_decay = static_cast<float>(path.settings.real("weight-decay"));
  return o;
}

void train(const std::string& folder, const Settings& given, Communicator& world) {
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
  Start start;
  agree_on_errors(world, [&] {
    start.options = engine_options(path, settings, true);
    check_engine(start.options, layout);
    open_data(start, run, path, given, settings, is_new);
    start.data->log_epochs(world.rank() == 0);
  });
  const Mesh mesh = make_mesh(layout, world);
  name_thread(mesh);
  const double peak = measure_peak(mesh, start.options);
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
  TrainingLoop loop(run, path, settings, mesh, *engine, *start.data, start.validation.get(), peak);
  loop.run(start.step);
}

}  // namespace switchyard
