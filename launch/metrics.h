#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/files.h"
#include "launch/job_peak.h"

namespace switchyard {

// What a step is reported with.
struct StepMetrics {
  int64_t step = 0;
  int64_t start = 0;  // the number of the path's start (starts.h)
  std::chrono::system_clock::time_point ended;
  double loss = 0;  // mean over the global batch's tokens
  double learning_rate = 0;
  double grad_norm = 0;  // before clipping
  int64_t samples = 0;   // consumed so far, along the lineage
  int64_t tokens = 0;    // likewise
  double milliseconds = 0;
  double tokens_per_second = 0;
  double gflops = 0;         // of the model's causal products, a second
  JobPeak peak;              // what mfu is the share of; none on the CPU
  int64_t memory_bytes = 0;  // most tensor memory held by a rank
  // Mean over the tokens of all sets' samples, and of each set's.
  std::optional<double> validation_loss;
  struct SetLoss {
    std::string set;
    int64_t samples = 0;
    double loss = 0;
  };
  std::vector<SetLoss> validation_losses;
  // With the weights of each average that has a value, on the same sample.
  struct AverageLoss {
    std::string average;
    double loss = 0;
    std::vector<SetLoss> sets;
  };
  std::vector<AverageLoss> validation_averages;
  // In fp16: the scale of this step's backward, whether it overflowed so that nothing was changed,
  // and how many steps of the path's lineage have.
  struct LossScale {
    double scale = 1;
    bool skipped = false;
    int64_t skipped_steps = 0;
  };
  std::optional<LossScale> loss_scale;
  bool spike = false;  // of the loss (spike.h)
};

// The share of the peak; where there is one.
double mfu_of(const StepMetrics& metrics);

// RUN/metrics.jsonl: one line a step, numbers that read back to the same bits.
class MetricsLog {
 public:
  // Moves lines behind `step` (of a future that is given up) to metrics.discarded.jsonl, a torn
  // last line too, and opens the file for appending. Throws Error when it cannot be written.
  // `before`: the step that the path's own ones are behind, where lines may have been lost.
  MetricsLog(const std::filesystem::path& run, int64_t step,
             std::optional<int64_t> before = std::nullopt);
  void write(const StepMetrics& metrics);
  // What it lacks up to `step`, where its end or a line within was cut off; empty: nothing. A gap
  // that other lines follow, and so was there at the last start, is not said by itself.
  const std::string& loss() const { return loss_; }
  // That it had lines behind `step`, as behind a kill or where newer saved steps are gone; empty:
  // it had none.
  const std::string& redone() const { return redone_; }

 private:
  std::filesystem::path file_;
  Descriptor open_;
  std::string loss_;
  std::string redone_;
};

// What was logged of `run` is on the disk, so that a step which is saved has its record.
void sync_metrics(const std::filesystem::path& run);

// At most console_columns wide with the time in front of it: where there is no room, tokens a
// second are left out, then FLOP a second. last_step 0: there is none.
constexpr size_t console_columns = 100;
std::string console_line(const StepMetrics& metrics, int64_t last_step, double seconds_left);

// Lines of their own, whatever the interval: a validation; in fp16 an overflow. Empty: nothing.
std::string validation_line(const StepMetrics& metrics);
std::string averages_line(const StepMetrics& metrics);
std::string loss_scale_line(const StepMetrics& metrics);

}  // namespace switchyard
