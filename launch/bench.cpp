#include "launch/bench.h"

#include <omp.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "core/error.h"
#include "core/logging.h"
#include "core/random.h"
#include "launch/engine.h"
#include "launch/matrix_rate.h"
#include "parallel/communicators.h"

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;

EngineOptions bench_engine(const Settings& s) {
  EngineOptions o;
  o.model = preset(s.text("preset"));
  o.dtype = s.flag("bf16") ? DType::bf16 : DType::f32;
  o.sequence_length =
      s.has("seq-length") ? s.integer("seq-length") : preset_sequence_length(s.text("preset"));
  o.micro_batch = s.integer("micro-batch-size");
  o.global_batch = o.micro_batch;
  o.optimizer.adamw.weight_decay = 0.1f;
  check(o.sequence_length >= 1, "bench", "--seq-length {}; at least 1 is allowed",
        o.sequence_length);
  check(o.model.positions == Positions::rotary || o.sequence_length <= o.model.max_positions,
        "bench", "--seq-length {} with {} learned positions; at most as many are allowed",
        o.sequence_length, o.model.max_positions);
  return o;
}

double time_step(Engine& engine, const EngineOptions& o, int64_t step) {
  const auto tokens_of = [&](int64_t sample, std::span<int32_t> tokens,
                             std::span<int32_t> targets) {
    const RandomKey key{0, static_cast<uint32_t>(step), random_purpose("bench")};
    const auto n = tokens.size();
    const auto vocabulary = static_cast<uint64_t>(o.model.vocabulary);
    for (size_t i = 0; i < n; ++i) {
      const uint64_t element = static_cast<uint64_t>(sample) * (n + 1) + i;
      tokens[i] = static_cast<int32_t>(key.word(element) % vocabulary);
      targets[i] = static_cast<int32_t>(key.word(element + 1) % vocabulary);
    }
  };
  const auto begin = Clock::now();
  engine.train_step(step, 1e-4, tokens_of);
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

std::vector<OptionSpec> bench_options() {
  using enum OptionKind;
  const auto group = OptionGroup::run;
  return {{"preset", text, group, "gpt2-124m", "the model"},
          {"seq-length", integer, group, "", "tokens of a sample (the preset's)"},
          {"micro-batch-size", integer, group, "4", "samples of a step"},
          {"bf16", flag, group, "", "bf16 weights and activations"},
          {"steps", integer, group, "5", "timed steps, behind two that are not"},
          {"json", flag, group, "", "print one JSON object"}};
}

BenchResult bench(const Settings& given) {
  const Settings s = with_fallbacks(bench_options(), given);
  const auto options = bench_engine(s);
  const int64_t steps = s.integer("steps");
  check(steps >= 1, "bench", "--steps {}; at least 1 is allowed", steps);
  check_engine(options, {});
  const auto world = make_self_communicator();
  const Mesh mesh = make_mesh({}, *world);
  Engine engine(options, mesh);
  engine.initialize();
  MatrixRate rate(2048, options.dtype);
  constexpr int warm_up = 2;
  double best = std::numeric_limits<double>::infinity();
  int64_t allocations = 0;
  for (int64_t step = 1; step <= warm_up + steps; ++step) {
    const double seconds = time_step(engine, options, step);
    for (int i = 0; i < 3; ++i) rate.measure(engine.context());
    if (step == 1) allocations = memory_statistics().allocations;
    if (step > warm_up) best = std::min(best, seconds);
    log::info("step {} of {}: {:.0f} ms, matrix rate {:.1f} GFLOP/s", step, warm_up + steps,
              1e3 * seconds, rate.best() / 1e9);
  }
  BenchResult r;
  r.preset = s.text("preset");
  r.parameters = options.model.parameters();
  r.sequence_length = options.sequence_length;
  r.micro_batch = options.micro_batch;
  r.threads = omp_get_max_threads();
  r.steps = steps;
  r.milliseconds = 1e3 * best;
  r.tokens_per_second = static_cast<double>(options.micro_batch * options.sequence_length) / best;
  r.flops_per_token = options.model.causal_flops_per_token(options.sequence_length);
  r.flops_per_second = r.flops_per_token * r.tokens_per_second;
  r.matrix_rate = rate.best();
  r.mfu = r.flops_per_second / r.matrix_rate;
  r.memory_bytes = memory_statistics().peak_bytes;
  r.allocations_after_first_step = memory_statistics().allocations - allocations;
  return r;
}

}  // namespace switchyard
