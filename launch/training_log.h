#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "launch/engine/step_remarks.h"
#include "launch/metrics.h"
#include "launch/path/run_folder.h"
#include "launch/start.h"
#include "launch/tensorboard.h"

namespace switchyard {

// Epochs of a set that were begun, as a line of the log.
std::string describe(const BegunEpochs& epochs, const PathSpecification& path);

// What a start tells of its steps: RUN/metrics.jsonl, the line in starts.jsonl, TensorBoard's
// events, lines on the console. The first rank's; on the others it does nothing.
class TrainingLog {
 public:
  // What is referred to must outlive it. last_step: 0: none.
  TrainingLog(const RunFolder& run, const PathSpecification& path, const Start& start,
              const Mesh& mesh, int64_t last_step);
  ~TrainingLog();  // tells what was not yet told
  TrainingLog(const TrainingLog&) = delete;
  TrainingLog& operator=(const TrainingLog&) = delete;

  void open();   // collective; errors are agreed on
  void begin();  // the clock of the time left
  // A step, in order; a record or file that cannot be written is noted among the remarks. ends: no
  // step follows it.
  void write(const StepMetrics& metrics, bool ends, StepRemarks& remarks);
  // An error has been printed, which stays the last line: no more of them.
  void end_lines() { shows_lines_ = false; }

 private:
  bool is_line_due(int64_t step, bool ends) const;
  void show(const StepMetrics& metrics, bool ends);
  void tell_epochs();

  const RunFolder& folder_;
  const PathSpecification& path_;
  const Start& start_;
  const Settings& settings_;
  const Mesh& mesh_;
  int64_t last_step_;
  std::unique_ptr<MetricsLog> log_;
  std::optional<TensorBoardLog> tensorboard_;
  std::chrono::steady_clock::time_point begin_;
  std::chrono::steady_clock::time_point last_line_;
  bool shows_lines_ = true;
};

}  // namespace switchyard
