#include <algorithm>
#include <optional>

#include "core/error.h"
#include "core/logging.h"
#include "core/ops/matmul_prepared.h"
#include "core/ops/matmul_state.h"
#include "core/random.h"

// Times the candidates of products as a step runs them: random operands that the cache does not
// hold, beta and everything behind the product included.
namespace switchyard::ops {

namespace {

constexpr std::string_view where = "matmul tuning";
constexpr int64_t most_sets = 64;
constexpr int64_t most_runs = 1000;
constexpr int64_t spare_bytes = 256 << 20;  // of the GPU, for scratch and the driver
// A candidate replaces one that was suggested earlier only when it is faster by more than noise.
constexpr double noise = 0.995;

// Normal numbers on the device, repeated into operands. Their count is odd, so that rows differ.
class Noise {
 public:
  Noise(const Context& context, DType dtype)
      : context_(context), numbers_(count * size_of(dtype), Device::cuda, where) {
    Memory host = Memory::pinned(numbers_.bytes(), where);
    const RandomKey key{1, 0, 1};
    for (int64_t i = 0; i < count; ++i) {
      const auto x = static_cast<float>(random_normal(key, static_cast<uint64_t>(i)));
      if (dtype == DType::f32) static_cast<float*>(host.data())[i] = x;
      if (dtype == DType::bf16) static_cast<bf16*>(host.data())[i] = bf16(x);
      if (dtype == DType::f16) static_cast<f16*>(host.data())[i] = f16(x);
    }
    copy_bytes(numbers_.data(), host.data(), numbers_.bytes(), context.stream);
    context.stream.synchronize();
  }

  void fill(char* to, int64_t bytes) const {
    for (int64_t done = 0; done < bytes; done += numbers_.bytes()) {
      copy_bytes(to + done, numbers_.data(), std::min(bytes - done, numbers_.bytes()),
                 context_.stream);
    }
  }

 private:
  static constexpr int64_t count = (1 << 19) + 1;
  const Context& context_;
  Memory numbers_;
};

int64_t align_up(int64_t bytes) { return (bytes + 255) / 256 * 256; }

// One set of a product's operands, in memory that begins at a multiple of 256 bytes.
class Operands {
 public:
  Operands(const MatmulProduct& p, char* memory) : memory_(memory), p_(p) {
    a = matrix(p.stored_rows_a(), p.transpose_a ? p.m : p.k, p.row_a, p.inputs, p.align_a);
    b = matrix(p.stored_rows_b(), p.transpose_b ? p.k : p.n, p.row_b, p.inputs, p.align_b);
    c = matrix(p.m, p.n, p.row_c, p.output, p.align_c);
    options.transpose_a = p.transpose_a;
    options.transpose_b = p.transpose_b;
    options.accumulate = p.accumulate;
    if (p.bias) options.bias = matrix(1, p.n, p.n, p.output, 16).view({p.n});
    if (p.gelu_input) options.gelu_input = gelu();
    if (p.gelu_gradient) options.gelu_gradient = gelu();
    if (p.row_sums) options.row_sums = matrix(1, p.m, p.m, DType::f32, 16).view({p.m});
  }

  Tensor a, b, c;
  MatmulOptions options;
  int64_t bytes() const { return used_; }

 private:
  Tensor gelu() { return matrix(p_.m, p_.n, p_.row_gelu, p_.output, p_.align_gelu); }

  // Its address is a multiple of `alignment` and of no greater power of two, up to 16.
  Tensor matrix(int64_t rows, int64_t columns, int64_t row, DType dtype, int alignment) {
    const int64_t begin = used_ + (alignment < 16 ? alignment : 0);
    used_ = align_up(begin + std::max<int64_t>(rows * row, columns) * size_of(dtype));
    Tensor t(memory_ + begin, dtype, {rows, columns}, Device::cuda);
    t.stride[0] = row;
    return t;
  }

  char* memory_;
  const MatmulProduct& p_;
  int64_t used_ = 0;
};

// Sets of operands that together pass the cache's size.
class Rotation {
 public:
  // `bytes` of one set; no more than `room` of all of them.
  Rotation(const Context& context, const MatmulProduct& product, int64_t bytes, int64_t cold_bytes,
           int64_t room) {
    const int64_t wanted = std::min((cold_bytes + bytes - 1) / bytes, room / bytes);
    const int64_t sets = std::clamp<int64_t>(wanted, 1, most_sets);
    memory_ = Memory(sets * bytes, Device::cuda, where);
    fill(context, product, bytes);
    for (int64_t i = 0; i < sets; ++i) {
      sets_.emplace_back(product, static_cast<char*>(memory_.data()) + i * bytes);
    }
  }

  const Operands& next() { return sets_[next_++ % sets_.size()]; }

 private:
  // 16-bit patterns of one dtype would be unlikely numbers of another: each tensor has its own.
  void fill(const Context& context, const MatmulProduct& product, int64_t bytes) {
    const Noise inputs(context, product.inputs);
    auto* data = static_cast<char*>(memory_.data());
    inputs.fill(data, memory_.bytes());
    if (product.output != product.inputs) {
      const Noise outputs(context, product.output);
      for (int64_t set = 0; set < memory_.bytes(); set += bytes) {
        const Operands operands(product, data + set);
        auto* c = static_cast<char*>(operands.c.data);
        outputs.fill(c, data + set + bytes - c);  // c and all behind it
      }
      context.stream.synchronize();
    }
    context.stream.synchronize();
  }

  Memory memory_;
  std::vector<Operands> sets_;
  size_t next_ = 0;
};

class Timing {
 public:
  Timing(const Context& context, Rotation& rotation, const MatmulTimer& timer)
      : context_(context), rotation_(rotation), timer_(timer) {}

  // The median time of one run, in microseconds.
  double measure(const cuda::PreparedMatmul& product) {
    time(product, 2);  // scratch grows, code is loaded
    const double first = time(product, 1);
    const double wanted = first > 0 ? 1000 * timer_.milliseconds / first : 1;
    const auto runs = static_cast<int64_t>(std::clamp(wanted, 1.0, static_cast<double>(most_runs)));
    std::vector<double> times(static_cast<size_t>(std::max(1, timer_.repetitions)));
    for (double& t : times) t = time(product, runs);
    const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
    std::nth_element(times.begin(), middle, times.end());
    return *middle;
  }

 private:
  double time(const cuda::PreparedMatmul& product, int64_t runs) {
    begin_.record(context_.stream);
    for (int64_t i = 0; i < runs; ++i) {
      const Operands& o = rotation_.next();
      product.run(context_, o.a, o.b, o.c, o.options);
    }
    end_.record(context_.stream);
    end_.synchronize();
    return 1000 * Event::milliseconds(begin_, end_) / static_cast<double>(runs);
  }

  const Context& context_;
  Rotation& rotation_;
  const MatmulTimer& timer_;
  Event begin_{Device::cuda, Event::Timing::measured};
  Event end_{Device::cuda, Event::Timing::measured};
};

// Times one plan's candidates into `best`.
void time_plan(const MatmulPlan& plan, const MatmulTimer& timer, Timing& timing,
               std::optional<MatmulChoice>& best) {
  const cuda::MatmulDescriptors examined(plan);
  for (const auto& candidate : cuda::matmul_candidates(plan, examined, timer.candidates)) {
    double time = 0;
    try {
      time = timing.measure({plan, cuda::MatmulDescriptors(plan), candidate});
    } catch (const Error& error) {  // suggested, and refused with these addresses
      log::debug("matmul tuning: {}: {}", plan.to_string(), error.what());
      continue;
    }
    MatmulChoice choice{plan.fusion, cuda::to_words(candidate.algorithm), time, time, 1};
    if (best) {
      choice.heuristic_microseconds = best->heuristic_microseconds;
      choice.candidates = best->candidates + 1;
      best->candidates = choice.candidates;
    }
    if (!best || time < noise * best->microseconds) best = choice;
  }
}

// What would be taken without a table, so that a resume takes it, too.
MatmulChoice first_suggestion(const MatmulProduct& product, int64_t workspace_bytes) {
  const auto prepared = cuda::prepare_untimed(product, {.workspace_bytes = workspace_bytes});
  return {prepared.plan().fusion, cuda::to_words(prepared.candidate().algorithm), 0, 0, 0};
}

MatmulChoice time_product(const Context& context, const MatmulProduct& product,
                          const MatmulTimer& timer, int64_t workspace_bytes) {
  const int64_t bytes = Operands(product, nullptr).bytes();
  const int64_t room = std::min(describe_gpu().free_bytes - spare_bytes, timer.most_bytes);
  if (bytes > room) {
    log::warning(
        "matmul tuning: {} is not timed: its operands take {} bytes where there is room "
        "for {}; cuBLASLt's first suggestion is taken",
        product.to_string(), bytes, std::max<int64_t>(room, 0));
    return first_suggestion(product, workspace_bytes);
  }
  Rotation rotation(context, product, bytes, timer.cold_bytes, room);
  Timing timing(context, rotation, timer);
  std::optional<MatmulChoice> best;
  for (const MatmulPlan& plan : plans_of(product, workspace_bytes)) {
    time_plan(plan, timer, timing, best);
  }
  check(best.has_value(), where, "no algorithm computes {}", product.to_string());
  log::info("matmul tuning: {}: {:.1f} us, {:.0f} TFLOP/s, fusion {}; the first of {} took {:.1f}",
            product.to_string(), best->microseconds,
            product.operations() / best->microseconds * 1e-6, name_of(best->fusion),
            best->candidates, best->heuristic_microseconds);
  return *best;
}

}  // namespace

TuningIdentity tuning_identity() {
  const GpuDescription gpu = describe_gpu();
  return {gpu.name, gpu.multiprocessors, static_cast<int64_t>(cublasLtGetVersion()),
          gpu.runtime_version, matmul_settings().workspace_bytes};
}

void tune_matmuls(const Context& context, std::span<const MatmulProduct> products,
                  MatmulTuning& table, const MatmulTimer& timer) {
  check(timer.candidates > 0, where, "{} candidates of each plan; at least 1 is allowed",
        timer.candidates);
  const std::string reason = table.why_not(tuning_identity());
  check(reason.empty(), where, "{}", reason);
  for (const MatmulProduct& product : table.lacks(products)) {
    table.set(product, time_product(context, product, timer, table.identity().workspace_bytes));
  }
}

}  // namespace switchyard::ops
