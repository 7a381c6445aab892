#include "launch/saver.h"

#include <algorithm>
#include <iterator>
#include <system_error>

#include "core/error.h"
#include "core/host_memory.h"
#include "core/logging.h"
#include "launch/average_state.h"
#include "launch/event_file.h"
#include "launch/metrics.h"
#include "launch/path/lineage_document.h"
#include "launch/placement.h"
#include "launch/tensorboard.h"
#include "parallel/comm/control_plane.h"
#include "parallel/comm/rank_places.h"

namespace switchyard {

namespace {

constexpr const char* save_writers = "save-writers-per-node";

int ranks_of_this_node(const Mesh& mesh) {
  const auto places = rank_places();
  if (places.empty()) return 1;
  const std::string& here = places[static_cast<size_t>(mesh.world->rank())].host;
  return static_cast<int>(std::ranges::count(places, here, &RankPlace::host));
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double gib(int64_t bytes) { return static_cast<double>(bytes) / (int64_t{1} << 30); }

}  // namespace

SavingOptions saving_options(const Settings& settings) {
  SavingOptions how{.async = !settings.flag("no-async-save")};
  if (settings.has("save-staging-gib")) how.gib = settings.real("save-staging-gib");
  return how;
}

SavingOptions saving_options(const RunFolder& run, const Settings& settings) {
  SavingOptions how = saving_options(settings);
  how.events = event_folder(run.folder(), settings);
  return how;
}

void check_file_sharing(const Settings& run, int rank) {
  if (!run.has(save_writers)) return;
  ranks_sharing_files(rank_places(), rank, run.integer(save_writers));
}

std::unique_ptr<ControlPlane> share_files(const Settings& run, const Mesh& mesh) {
  if (!run.has(save_writers)) return nullptr;
  const auto ranks =
      ranks_sharing_files(rank_places(), mesh.world->rank(), run.integer(save_writers));
  return mesh.checkpoint->split(ranks, "shared files");
}

int64_t staging_limit(int64_t free_bytes, int ranks_here) { return free_bytes / 4 / ranks_here; }

Saver::Saver(const RunFolder& run, const PathSpecification& path, const Mesh& mesh,
             const RetentionOptions& keep, const SavingOptions& how)
    : run_(run),
      path_(path),
      mesh_(mesh),
      retention_(run, keep),
      how_(how),
      writer_(
          run.checkpoints(), *mesh.checkpoint, [this] { run_.check_held(); },
          mesh.file_sharing.get()) {}

Saver::~Saver() {
  if (writing_.valid()) writing_.wait();
}

void Saver::retain() {
  if (mesh_.world->rank() == 0) retained_ = retention_.apply();
}

// Nothing is copied where the steps wait anyway.
int64_t Saver::limit() {
  if (!how_.async) return 0;
  if (!limit_) {
    limit_ = how_.gib ? static_cast<int64_t>(*how_.gib * (int64_t{1} << 30))
                      : staging_limit(free_host_bytes(), ranks_of_this_node(mesh_));
  }
  return *limit_;
}

void Saver::stage(const CheckpointInfo& info, const std::vector<ShardedTensor>& state) {
  int64_t uncopied = 0;
  const bool some_left = mesh_.world->control().agree_and_ask(
      [&] { uncopied = writer_.stage(info, state, limit()); }, [&] { return uncopied > 0; });
  if (!some_left) return;
  if (how_.async && !said_ && mesh_.world->rank() == 0) {
    log::info(
        "a rank's state is more than the {:.3g} GiB that a save may copy ({}); the rest is written "
        "before training goes on",
        gib(limit()),
        how_.gib ? "--save-staging-gib" : "a quarter of the free memory; see --save-staging-gib");
    said_ = true;
  }
  mesh_.world->control().agree([&] { writer_.write_uncopied(); });
}

void Saver::prepare(Engine& engine) {
  if (!how_.async) return;
  mesh_.world->control().agree([&] {
    auto state = engine.state().tensors(StateUse::save);
    auto means = means_to_save(engine.averages());
    std::ranges::move(means, std::back_inserter(state));
    writer_.reserve(state, limit());
  });
}

void Saver::save(int64_t step, int64_t samples, double loss, Engine& engine) {
  const auto begin = Clock::now();
  finish();
  CheckpointInfo info;
  info.step = step;
  info.samples = samples;
  info.loss = loss;
  info.documents = {{"specification", path_.to_json()},
                    {"lineage", lineage_document(path_)},
                    {"model", path_.model.to_json()}};
  mesh_.world->control().agree([&] {  // of a start that keeps fewer; a disk may be full
    if (!retained_) retain();
  });
  auto state = engine.state().tensors(StateUse::save);
  add_averages(run_, step, engine, mesh_, state, info.documents);  // whose members stay from now on
  stage(info, state);
  const double waited = seconds_since(begin);
  write([this, step, begin, waited, label = thread_label()] {
    set_thread_label(label);
    set_current_step(step);
    commit(step, begin, waited);
  });
  if (!how_.async) finish();
}

// In a thread of its own, or at once where the system starts no more.
void Saver::write(const std::function<void()>& body) {
  try {
    writing_ = std::async(std::launch::async, body);
  } catch (const std::system_error& problem) {
    log::warning(
        "no thread can be started to save in ({}); the save is written before training "
        "goes on",
        problem.what());
    std::packaged_task<void()> here(body);
    here();
    writing_ = here.get_future();
  }
}

void Saver::commit(int64_t step, Clock::time_point begin, double waited) try {
  ControlPlane& control = *mesh_.checkpoint;
  control.agree([&] {
    if (mesh_.world->rank() != 0) return;
    sync_metrics(run_.folder());
    if (how_.events) sync_events(*how_.events);
  });
  writer_.commit();
  control.agree([&] {
    if (mesh_.world->rank() == 0) {
      run_.note_saved();
      retention_.trust(step);
    }
    retain();
  });
  if (mesh_.world->rank() != 0) return;
  const double seconds = seconds_since(begin);
  if (how_.async) {
    log::info("saved step {} in {:.1f} s; training waited {:.1f} s of it", step, seconds, waited);
  } else {
    log::info("saved step {} in {:.1f} s", step, seconds);
  }
} catch (...) {
  failed_ = true;
  throw;
}

void Saver::finish() {
  if (writing_.valid()) writing_.get();
}

}  // namespace switchyard
