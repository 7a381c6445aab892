#include "launch/trainer.h"

#include <memory>
#include <optional>

#include "core/error.h"
#include "core/logging.h"
#include "core/stop_signal.h"
#include "launch/engine/matmul_choices.h"
#include "launch/engine/memory_plan.h"
#include "launch/engine/stop_point.h"
#include "launch/engine/world.h"
#include "launch/fault_place.h"
#include "launch/health_check.h"
#include "launch/job_peak.h"
#include "launch/path/obtain_path.h"
#include "launch/path/retention.h"
#include "launch/placement.h"
#include "launch/replayed_fork.h"
#include "launch/saver.h"
#include "launch/start.h"
#include "launch/training_loop.h"
#include "parallel/comm/control_plane.h"
#include "parallel/comm/rank_places.h"
#include "parallel/comm/rendezvous/job_identity.h"

namespace switchyard {

namespace {

// Of the ranks that there are, as the options cut them.
Layout layout_of_start(const Settings& given, Communicator& world) {
  Layout layout;
  world.control().agree([&] {
    const Settings settings = with_fallbacks(run_options(), given);
    apply_device_settings(settings);
    check_file_sharing(given, world.rank());
    layout = layout_of(world.size(), settings.integer("tensor-model-parallel-size"),
                       settings.integer("pipeline-model-parallel-size"));
  });
  return layout;
}

void name_thread(const Mesh& mesh) {
  if (mesh.world->size() == 1) return;
  set_thread_label(fmt::format("rank {}: tp {} pp {} dp {}", mesh.world->rank(), mesh.place.tp,
                               mesh.place.pp, mesh.place.dp));
}

// On a GPU: how matrix products are computed, before the engine plans its own. Collective. Returns
// whether they were timed, so that the choices are to be kept.
bool settle_products(const RunFolder& run, const Start& start, const Mesh& mesh) {
  if (start.options.device == Device::cpu) return false;
  if (!start.record.run.flag("no-matmul-tuning")) {
    settle_matmul_choices(run.folder(), start.options, mesh, start.origin.has_value());
    return true;
  }
  if (start.origin && has_matmul_choices(run.folder())) {
    log::warning("--no-matmul-tuning, but '{}' has timed choices; bits may differ from before",
                 run.folder().string());
  }
  return false;
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

// Null where none is asked for. Its memory is held from here on, so that none runs short later.
std::unique_ptr<HealthCheck> make_health_check(const Start& start, const Mesh& mesh) {
  std::unique_ptr<HealthCheck> health;
  const Settings& settings = start.record.run;
  if (!settings.flag("health-check") && settings.integer("health-check-interval") == 0)
    return health;
  mesh.world->control().agree([&] {
    health = std::make_unique<HealthCheck>(mesh, start.options.dtype, start.options.device);
  });
  return health;
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

// Which job this is, and where its ranks run.
void report_job(const Layout& layout) {
  const JobIdentity job = job_identity();
  log::info("{}; user {}{}", describe(job), job.user,
            job.launcher.empty() ? "" : fmt::format(", started by {}", job.launcher));
  const auto places = rank_places();
  for (const auto& line : describe_placement(places, layout)) log::info("{}", log::folded(line));
  const auto crossing = describe_crossing(places, layout);
  if (!crossing.empty()) log::warning("{}", log::folded(crossing));
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

// What was loaded from another path's checkpoint becomes this path's own.
void save_origin(const Origin& origin, Engine& engine, Saver& saver) {
  const CheckpointInfo info = CheckpointReader(origin.entry.folder).info();
  saver.save(info.step, info.samples, info.loss, engine);
  saver.finish();
}

}  // namespace

ExitCode train(const std::string& folder, const Settings& given, Communicator& world) {
  const StopSignal signals;
  const RunFolder run(folder);
  const Layout layout = layout_of_start(given, world);
  world.control().agree([&] { run.check_can_save(); });
  name_fault_place(run.folder(), world);
  ObtainedPath obtained = obtain_path(run, given, world);
  const PathSpecification& path = obtained.path;
  auto start = prepare_start(run, obtained, given, layout, world);
  if (!start) return ExitCode::reached;
  auto endable = std::make_optional<EndableStart>();
  stop_point(world.control());
  if (world.rank() == 0) report_job(layout);
  bool keeps = keeps_fork_point(run, path, start->origin, world);
  Mesh mesh = make_mesh(layout, world);
  mesh.file_sharing = share_files(start->record.run, mesh);
  name_thread(mesh);
  const JobPeak peak = job_peak(mesh, start->options);
  const bool was_timed = settle_products(run, *start, mesh);
  if (start->replay) {
    if (!make_fork_point(run, obtained.path, *start->replay, start->record.run, mesh)) {
      return ExitCode::stopped;
    }
    start->origin = Origin{run, run.checkpoint(start->step), false};
  }
  const auto health = make_health_check(*start, mesh);
  const auto engine = make_engine(*start, mesh, path);
  stop_point(world.control());
  if (start->origin && load(*start->origin, mesh, *engine, start->averages))
    keeps = keeps_fork_point(run, path, start->origin, world);
  report_start(path, *start, mesh, *engine);
  engine->rehearse();
  if (start->origin || start->options.device == Device::cuda) stop_point(world.control());
  world.control().agree([&] {
    if (world.rank() != 0) return;
    if (obtained.is_new) settle_new(run, obtained);
    if (was_timed) keep_matmul_choices(run.folder());
  });
  endable.reset();
  world.control().agree([&] {  // steps behind the origin are given up once all else has succeeded
    if (world.rank() != 0 || !start->origin) return;
    if (!start->origin->is_parent) run.note_saved();  // a run of before has no note yet
    discard_behind(run, start->origin->step());
  });
  if (start->record.run.flag("health-check")) health->run();
  Saver saver(run, path, mesh, retention_options(start->record.run),
              saving_options(run, start->record.run));
  if (keeps) save_origin(*start->origin, *engine, saver);
  return TrainingLoop(run, path, *start, mesh, peak, *engine, saver, health.get()).run();
}

}  // namespace switchyard
