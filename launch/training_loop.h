#pragma once

#include <chrono>
#include <memory>

#include "launch/engine.h"
#include "launch/metrics.h"
#include "launch/options.h"
#include "launch/run_folder.h"
#include "launch/specification.h"

namespace switchyard {

// The sets of --valid-data-path; null when there are none. Throws Error when validation is wanted
// but a stage of data behind `step` has none.
std::unique_ptr<EvaluationData> open_validation(const PathSpecification& path,
                                                const Settings& settings, const TrainingData& data,
                                                int64_t step);

// Steps of a path that is loaded: metrics, validation, saving, stopping.
class TrainingLoop {
 public:
  TrainingLoop(const RunFolder& run, const PathSpecification& path, const Settings& settings,
               const Mesh& mesh, Engine& engine, const TrainingData& data,
               const EvaluationData* validation, double peak_flops);
  ~TrainingLoop();
  // From the step behind `step` to the last one, or to the end of the step in which a signal came.
  void run(int64_t step);

 private:
  StepMetrics do_step(int64_t step);
  bool agree_on_end(StepMetrics& metrics) const;
  double validate(int64_t step);
  void save(const StepMetrics& metrics);
  void report(const StepMetrics& metrics, MetricsLog* log) const;
  bool is_due(const char* interval, int64_t step) const;

  const RunFolder& folder_;
  const PathSpecification& path_;
  const Settings& settings_;
  const Mesh& mesh_;
  Engine& engine_;
  const TrainingData& data_;
  double peak_flops_;
  int64_t last_step_;  // 0: none
  CheckpointWriter writer_;
  const EvaluationData* validation_;  // null: the split's second part
  std::chrono::steady_clock::time_point begin_;
  int64_t first_step_ = 0;
};

}  // namespace switchyard
