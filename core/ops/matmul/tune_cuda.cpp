#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/logging.h"
#include "core/ops/matmul/prepared.h"
#include "core/ops/matmul/rotation.h"
#include "core/ops/matmul/settings.h"

// Times the candidates of products as a step runs them: random operands that the cache does not
// hold, beta and everything behind the product included.
namespace switchyard::ops {

namespace {

constexpr std::string_view where = "matmul tuning";
constexpr int64_t most_runs = 1000;
constexpr int64_t spare_bytes = 256 << 20;  // of the GPU, for scratch and the driver
// A candidate replaces one that was suggested earlier only when it is faster by more than noise.
constexpr double noise = 0.995;
constexpr size_t finalists = 3;

// A candidate made from the words that a table keeps of it, as every later use makes it.
struct Contender {
  size_t number;  // in the order of suggestion
  cuda::PreparedMatmul prepared;
  double microseconds = 0;
};

double median(std::vector<double> times) {
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

class Timing {
 public:
  Timing(const Context& context, MatmulRotation& rotation, const MatmulTimer& timer)
      : context_(context), rotation_(rotation), timer_(timer) {}

  // Runs products for so long, so that the GPU's clocks are those of a step.
  void warm_up(const cuda::PreparedMatmul& product) {
    run(product, 2);  // code is loaded
    double passed = 0;
    for (int64_t runs = 1; passed < timer_.warm_milliseconds;
         runs = std::min(2 * runs, most_runs)) {
      passed += 1e-3 * run(product, runs) * static_cast<double>(runs);
    }
  }

  // The median time of one run, in microseconds; infinite where cuBLASLt refuses the call.
  double measure(const cuda::PreparedMatmul& product) {
    run(product, 2);  // scratch grows, code is loaded
    const int64_t runs = runs_of(run(product, 1));
    std::vector<double> times;
    for (int i = 0; i < std::max(1, timer_.repetitions); ++i) times.push_back(run(product, runs));
    return median(times);
  }

  // Once more, in turns, so that all meet the same clocks and temperatures.
  void measure_in_turns(std::vector<Contender>& contenders) {
    std::vector<std::vector<double>> times(contenders.size());
    for (int i = 0; i < std::max(1, timer_.repetitions); ++i) {
      for (size_t c = 0; c < contenders.size(); ++c) {
        const int64_t runs = runs_of(contenders[c].microseconds);
        times[c].push_back(run(contenders[c].prepared, runs));
      }
    }
    for (size_t c = 0; c < contenders.size(); ++c) contenders[c].microseconds = median(times[c]);
  }

 private:
  int64_t runs_of(double microseconds) const {
    const double wanted = microseconds > 0 ? 1000 * timer_.milliseconds / microseconds : 1;
    return static_cast<int64_t>(std::clamp(wanted, 1.0, static_cast<double>(most_runs)));
  }

  double run(const cuda::PreparedMatmul& product, int64_t runs) {
    begin_.record(context_.stream);
    for (int64_t i = 0; i < runs; ++i) {
      const MatmulOperands& o = rotation_.next();
      const auto status = product.run(context_, o.a, o.b, o.c, o.options);
      if (status != CUBLAS_STATUS_SUCCESS) return std::numeric_limits<double>::infinity();
    }
    end_.record(context_.stream);
    end_.synchronize();
    return 1000 * Event::milliseconds(begin_, end_) / static_cast<double>(runs);
  }

  const Context& context_;
  MatmulRotation& rotation_;
  const MatmulTimer& timer_;
  Event begin_{Device::cuda, Event::Timing::measured};
  Event end_{Device::cuda, Event::Timing::measured};
};

// The candidates of all plans that cuBLASLt does not refuse, timed once each.
std::vector<Contender> time_candidates(const MatmulProduct& product, const MatmulTimer& timer,
                                       Timing& timing) {
  std::vector<Contender> contenders;
  for (const MatmulPlan& plan : plans_of(product, matmul_workspace_bytes)) {
    const cuda::MatmulDescriptors examined(plan);
    for (const auto& candidate : cuda::matmul_candidates(plan, examined, timer.candidates)) {
      const cuda::MatmulWay way{plan.fusion, cuda::to_words(candidate.algorithm)};
      auto prepared = cuda::prepare_chosen(product, way);
      if (!prepared) continue;
      const double time = timing.measure(*prepared);
      if (std::isinf(time)) continue;
      contenders.push_back({contenders.size(), *std::move(prepared), time});
    }
  }
  return contenders;
}

// The fastest ones and the first suggestion, in the order of suggestion.
std::vector<Contender> fastest(std::vector<Contender> contenders) {
  std::stable_sort(contenders.begin(), contenders.end(),
                   [](const auto& a, const auto& b) { return a.microseconds < b.microseconds; });
  std::vector<Contender> few;
  for (size_t i = 0; i < contenders.size(); ++i) {
    if (i < finalists || contenders[i].number == 0) few.push_back(std::move(contenders[i]));
  }
  std::ranges::sort(few, {}, &Contender::number);
  return few;
}

MatmulChoice choose(std::vector<Contender> contenders, Timing& timing) {
  const auto count = static_cast<int>(contenders.size());
  contenders = fastest(std::move(contenders));
  timing.measure_in_turns(contenders);
  const Contender* best = contenders.data();
  for (const Contender& one : contenders) {
    if (one.microseconds < noise * best->microseconds) best = &one;
  }
  const auto way = best->prepared.way();
  return {way.fusion, way.algorithm, best->microseconds, contenders.front().microseconds, count};
}

// What would be taken without a table, so that a resume takes it, too.
MatmulChoice first_suggestion(const MatmulProduct& product) {
  const auto way = cuda::prepare_untimed(product).way();
  return {way.fusion, way.algorithm, 0, 0, 0};
}

MatmulChoice time_product(const Context& context, const MatmulProduct& product,
                          MatmulTimer& timer) {
  const int64_t bytes = MatmulOperands(product, nullptr).bytes();
  const int64_t room = std::min(describe_gpu().free_bytes - spare_bytes, timer.most_bytes);
  if (bytes > room) {
    log::warning(
        "matmul tuning: {} is not timed: its operands take {} bytes where there is room "
        "for {}; cuBLASLt's first suggestion is taken",
        product.to_string(), bytes, std::max<int64_t>(room, 0));
    return first_suggestion(product);
  }
  MatmulRotation rotation(context, product, bytes, timer.cold_bytes, room);
  Timing timing(context, rotation, timer);
  if (timer.warm_milliseconds > 0) {
    timing.warm_up(cuda::prepare_untimed(product));
    timer.warm_milliseconds = 0;  // once, before the first
  }
  auto contenders = time_candidates(product, timer, timing);
  check(!contenders.empty(), where, "no algorithm computes {}", product.to_string());
  const MatmulChoice best = choose(std::move(contenders), timing);
  log::info("matmul tuning: {}: {:.1f} us, {:.0f} TFLOP/s, fusion {}; the first of {} took {:.1f}",
            product.to_string(), best.microseconds, product.operations() / best.microseconds * 1e-6,
            name_of(best.fusion), best.candidates, best.heuristic_microseconds);
  return best;
}

}  // namespace

TuningIdentity tuning_identity() {
  const GpuDescription gpu = describe_gpu();
  return {gpu.name, gpu.multiprocessors, static_cast<int64_t>(cublasLtGetVersion()),
          gpu.runtime_version, matmul_workspace_bytes};
}

void tune_matmuls(const Context& context, std::span<const MatmulProduct> products,
                  MatmulTuning& table, const MatmulTimer& timer) {
  check(timer.candidates > 0, where, "{} candidates of each plan; at least 1 is allowed",
        timer.candidates);
  const std::string reason = table.why_not(tuning_identity());
  check(reason.empty(), where, "{}", reason);
  MatmulTimer of_each = timer;
  for (const MatmulProduct& product : table.lacks(products)) {
    table.set(product, time_product(context, product, of_each));
  }
}

}  // namespace switchyard::ops
