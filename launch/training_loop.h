#pragma once

#include <chrono>

#include "launch/engine/engine.h"
#include "launch/exit_plan.h"
#include "launch/health_check.h"
#include "launch/job_peak.h"
#include "launch/metrics.h"
#include "launch/path/run_folder.h"
#include "launch/saver.h"
#include "launch/spike.h"
#include "launch/start.h"
#include "launch/stragglers.h"
#include "launch/training_log.h"

namespace switchyard {

// Steps of a path that is loaded: metrics, validation, saving, stopping. On a GPU the host queues a
// step before it reads what came of the one before; before a validation, a save and the end it
// waits for all.
class TrainingLoop {
 public:
  // What is referred to must outlive it. health: where --health-check-interval is given.
  TrainingLoop(const RunFolder& run, const PathSpecification& path, const Start& start,
               const Mesh& mesh, const JobPeak& peak, Engine& engine, Saver& saver,
               HealthCheck* health = nullptr);
  ~TrainingLoop();
  // From the step behind the start's to the last one, or until a signal or an option (`stopped`):
  // on the CPU to the end of the step in which it came, on a GPU of the one that is queued by then.
  ExitCode run();

 private:
  ExitCode run_steps(int64_t step);
  void queue_step(int64_t step);
  Engine::StepResult outcome_in_time();
  StepMetrics finish_step();
  void measure_memory();
  void add_validation(StepMetrics& metrics);
  bool add_losses(StepMetrics& metrics);  // false: broken off
  ExitCode end_early(int64_t step);
  void look_at_replicas(int64_t step);
  void save(const StepMetrics& metrics);
  void finish_saving();
  void stop_at_spike(int64_t step, const Spike& spike);
  void show_rescue() const;
  bool is_due(const char* interval, int64_t step) const;
  bool is_pause(int64_t step) const;  // everything queued is waited for behind it

  const RunFolder& folder_;
  const PathSpecification& path_;
  const Start& start_;
  const Settings& settings_;  // of this start
  const Mesh& mesh_;
  JobPeak peak_;
  Engine& engine_;
  Saver& saver_;
  HealthCheck* health_;  // null: no interval
  int64_t last_step_;    // 0: none
  ExitPlan exit_;
  TrainingLog log_;
  StragglerWatch stragglers_;
  std::chrono::steady_clock::time_point last_event_;  // the last step's end, or a pause's
  int64_t first_step_ = 0;
  int64_t saved_step_ = 0;    // or where the start began
  int64_t judged_step_ = 0;   // whose outcome came last
  SpikeWatch watch_;          // of losses
  int64_t memory_bytes_ = 0;  // the most that a rank has held
  bool stop_ = false;         // a rank has asked to stop
};

}  // namespace switchyard
