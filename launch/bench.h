#pragma once

#include <cstdint>
#include <string>

#include "launch/options.h"

namespace switchyard {

struct BenchResult {
  std::string preset;
  int64_t parameters = 0;
  int64_t sequence_length = 0;
  int64_t micro_batch = 0;
  int threads = 0;
  int64_t steps = 0;
  double milliseconds = 0;  // best step, clipping and AdamW included
  double tokens_per_second = 0;
  double flops_per_token = 0;  // causal: 6 N + 6 L C T
  double flops_per_second = 0;
  double matrix_rate = 0;  // best product timed between the steps, FLOP a second
  double mfu = 0;          // flops_per_second / matrix_rate
  int64_t memory_bytes = 0;
  int64_t allocations_after_first_step = 0;
};

// Times whole training steps of a preset on this process, and a 2048-cubed product between them.
BenchResult bench(const Settings& given);
std::vector<OptionSpec> bench_options();

}  // namespace switchyard
