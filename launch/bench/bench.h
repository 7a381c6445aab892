#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/profiler.h"
#include "launch/path/options.h"

namespace switchyard {

struct BenchResult {
  std::string preset;
  std::string device;     // "cpu", or the GPU's name
  std::string precision;  // "f32", "bf16", "f16"
  bool deterministic = true;
  bool cuda_graph = false;
  int64_t parameters = 0;
  int64_t sequence_length = 0;
  int64_t micro_batch = 0;
  int64_t global_batch = 0;  // samples of a step; gradients add up over its microbatches
  int threads = 0;
  int64_t steps = 0;
  // A step, clipping and AdamW included: the median of the timed ones on a GPU, by events; the best
  // on the CPU, whose other work is not ours.
  double milliseconds = 0;
  std::vector<double> all_milliseconds;
  double tokens_per_second = 0;
  double flops_per_token = 0;       // causal: 6 N + 6 L C T
  double full_flops_per_token = 0;  // full: 6 N + 12 L C T
  double flops_per_second = 0;      // causal
  // The same run's product of two matrices of random numbers, FLOP a second: on a GPU sustained for
  // --matrix-seconds, on the CPU the best of those timed between the steps.
  double matrix_rate = 0;
  double mfu = 0;               // flops_per_second / matrix_rate
  double peak_flops = 0;        // dense bf16 peak of H100 and H200 SXM; 0 on the CPU
  double copy_rate = 0;         // bytes a second, read and written; 0 on the CPU
  int64_t memory_bytes = 0;     // tensor memory of host and device: the most; on a GPU a step's
  int64_t gpu_bytes = 0;        // of the GPU, used by all, behind the steps; 0 on the CPU
  int64_t gpu_bytes_grown = 0;  // of these, since the second step
  int64_t allocations_after_first_step = 0;
  // Of each operator of a step, whose kernels computed it; empty on the CPU without --profile.
  std::vector<std::pair<std::string, std::string>> backends;
  // With --profile: one more step, by operators; the rest of its time is gaps.
  std::vector<Profiler::Line> profile;
  double profiled_milliseconds = 0;

  double full_flops_per_second() const { return full_flops_per_token * tokens_per_second; }
};

// Times whole training steps of a preset on this process, and what the device gives at most.
BenchResult bench(const Settings& given);
std::vector<OptionSpec> bench_options();

}  // namespace switchyard
