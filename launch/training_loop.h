#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "launch/engine/engine.h"
#include "launch/job_peak.h"
#include "launch/metrics.h"
#include "launch/path/options.h"
#include "launch/path/run_folder.h"
#include "launch/path/specification.h"
#include "launch/path/starts.h"

namespace switchyard {

// The step to stop at: --train-iters, or the end of a decay; 0: none, as of a main path.
int64_t last_step(const PathSpecification& path, const Settings& settings);
// Why nothing is left to do behind `step`, for a log; empty: something is.
std::string describe_reached(const PathSpecification& path, const Settings& settings, int64_t step);

// Whether a validation is due behind `step`, up to the last one.
bool validates_behind(const PathSpecification& path, const Settings& settings, int64_t step);
// The sets of --valid-data-path, opened as open_evaluation_data_once does; none without it, or
// where no validation is due. Ends, agreed on, also where validation is wanted but a stage of data
// that is read behind `step` has none. `hint` is put behind errors of --valid-data-path.
// Collective.
std::vector<ValidationSource> open_validation(const PathSpecification& path,
                                              const Settings& settings, const TrainingData& data,
                                              int64_t step, ControlPlane& control,
                                              const std::string& hint);

// Steps of a path that is loaded: metrics, validation, saving, stopping. On a GPU the host queues a
// step before it reads what came of the one before; before a validation, a save and the end it
// waits for all.
class TrainingLoop {
 public:
  TrainingLoop(const RunFolder& run, const PathSpecification& path, const Settings& settings,
               const Mesh& mesh, Engine& engine, const TrainingData& data,
               std::vector<ValidationSource> validation, const StartRecord& start,
               const JobPeak& peak);
  ~TrainingLoop();
  // From the step behind the start's to the last one, or until a signal (`stopped`): on the CPU to
  // the end of the step in which it came, on a GPU of the one that is queued by then.
  ExitCode run();
  // Saves what was loaded from another path's checkpoint as this path's own, before the first step.
  void save_origin(const CheckpointInfo& loaded);

 private:
  ExitCode run_steps(int64_t step);
  void queue_step(int64_t step);
  Engine::StepResult outcome_in_time();
  StepMetrics finish_step();
  void measure_memory();
  void validate(StepMetrics& metrics);
  void save(const StepMetrics& metrics);
  void report(const StepMetrics& metrics);
  void show(const StepMetrics& metrics);
  bool is_due(const char* interval, int64_t step) const;
  bool is_line_due(int64_t step) const;
  bool is_pause(int64_t step) const;  // everything queued is waited for behind it

  const RunFolder& folder_;
  const PathSpecification& path_;
  const Settings& settings_;
  const Mesh& mesh_;
  Engine& engine_;
  const TrainingData& data_;
  const StartRecord& start_;
  JobPeak peak_;
  int64_t last_step_;  // 0: none
  CheckpointWriter writer_;
  std::vector<ValidationSource> validation_;  // none: the split's second part
  std::unique_ptr<MetricsLog> log_;           // the first rank's
  std::chrono::steady_clock::time_point begin_;
  std::chrono::steady_clock::time_point last_event_;  // the last step's end, or a pause's
  std::chrono::steady_clock::time_point last_line_;   // on the console
  int64_t first_step_ = 0;
  int64_t memory_bytes_ = 0;  // the most that a rank has held
  bool stop_ = false;         // a rank has asked to stop
};

}  // namespace switchyard
