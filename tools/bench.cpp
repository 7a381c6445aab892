#include "launch/bench.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "tools/command_support.h"

namespace switchyard {

int bench_command(Arguments arguments) {
  const auto specs = bench_options();
  const auto command = parse_or_help(specs, arguments, "bench --preset gpt2-124m");
  if (!command) return 0;
  check(command->positional.empty(), "options", "'{}' was given; only options are allowed",
        command->positional.empty() ? "" : command->positional.front());
  const auto r = bench(command->given);
  if (!command->given.flag("json")) {
    std::printf(
        "%s, T %lld, micro-batch %lld, %d threads: %.0f tokens/s, %.1f GFLOP/s (causal: 6 N "
        "+ 6 L C T), %.1f%% of the matrix rate %.1f GFLOP/s, %.0f MiB\n",
        r.preset.c_str(), static_cast<long long>(r.sequence_length),
        static_cast<long long>(r.micro_batch), r.threads, r.tokens_per_second,
        r.flops_per_second / 1e9, 100 * r.mfu, r.matrix_rate / 1e9,
        static_cast<double>(r.memory_bytes) / (1 << 20));
    return 0;
  }
  const nlohmann::ordered_json all = {
      {"preset", r.preset},
      {"parameters", r.parameters},
      {"seq_length", r.sequence_length},
      {"micro_batch_size", r.micro_batch},
      {"threads", r.threads},
      {"steps", r.steps},
      {"milliseconds", r.milliseconds},
      {"tokens_per_second", r.tokens_per_second},
      {"mfu", r.mfu},
      {"mfu_formula", "causal: (6 N + 6 L C T) tokens / s / peak"},
      {"flops_per_token", r.flops_per_token},
      {"gflops", r.flops_per_second / 1e9},
      {"peak_gflops", r.matrix_rate / 1e9},
      {"share_of_matrix_rate", r.mfu},
      {"memory_bytes", r.memory_bytes},
      {"allocations_after_first_step", r.allocations_after_first_step}};
  std::printf("%s\n", all.dump().c_str());
  return 0;
}

}  // namespace switchyard
