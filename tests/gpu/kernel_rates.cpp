// How fast our own kernels move memory, as a share of the copy rate of the same run. A kernel's
// rate is the least bytes it must move (each input read once, each output written once) over the
// median time; buffers of at least --mib in all are used in turn, so that none stays in a cache.
// Prints one JSON object a kernel.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/memory.h"
#include "core/ops/activation.h"
#include "core/ops/adamw.h"
#include "core/ops/cross_entropy.h"
#include "core/ops/dropout.h"
#include "core/ops/elementwise.h"
#include "core/ops/embedding.h"
#include "core/ops/norm/norm.h"
#include "core/ops/rotary.h"

namespace switchyard::ops {
namespace {

struct Options {
  Device device = Device::cpu;
  int64_t mib = 1024;
  int repeats = 20;
};

// Tensors of random numbers, one of each for every turn.
class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options), stream_(options.device), scratch_(options.device) {
    pattern_.resize(1 << 18);
    for (size_t i = 0; i < pattern_.size(); ++i) {
      pattern_[i] = random_normal({1, 0, 2}, i);
    }
  }

  Context context() { return {stream_, scratch_}; }
  int64_t bytes() const { return options_.mib << 20; }

  Tensor make(const Shape& shape, DType dtype) {
    memory_.emplace_back(std::max<int64_t>(shape.elements() * size_of(dtype), 1), options_.device,
                         "kernel rates");
    return Tensor(memory_.back().data(), dtype, shape, options_.device);
  }
  Tensor numbers(const Shape& shape, DType dtype) {
    const Tensor t = make(shape, dtype);
    std::vector<std::byte> piece(pattern_.size() * static_cast<size_t>(size_of(dtype)));
    for (size_t i = 0; i < pattern_.size(); ++i) {
      if (dtype == DType::f32) {
        std::memcpy(piece.data() + 4 * i, &pattern_[i], 4);
      } else {
        const bf16 rounded(pattern_[i]);
        std::memcpy(piece.data() + 2 * i, &rounded, 2);
      }
    }
    put(t, piece);
    return t;
  }
  Tensor ids(int64_t count, int64_t below) {
    const Tensor t = make({count}, DType::i32);
    std::vector<std::byte> piece(static_cast<size_t>(4 * count));
    for (int64_t i = 0; i < count; ++i) {
      const RandomKey key{3, 0, 4};
      const auto id =
          static_cast<int32_t>(key.word(static_cast<uint64_t>(i)) % static_cast<uint64_t>(below));
      std::memcpy(piece.data() + 4 * i, &id, 4);
    }
    put(t, piece);
    return t;
  }

  // `one` is called with the number of its turn; returns bytes a second. The turns run untimed
  // first, so that a GPU is at work while the timed ones are queued and waits for no launch.
  double rate(double bytes_of_one, int turns, const std::function<void(int)>& one) {
    std::vector<double> milliseconds;
    Event begin(options_.device, Event::Timing::measured);
    Event end(options_.device, Event::Timing::measured);
    for (int i = -2; i < options_.repeats; ++i) {
      for (int turn = 0; turn < turns; ++turn) one(turn);
      const auto before = std::chrono::steady_clock::now();
      begin.record(stream_);
      for (int turn = 0; turn < turns; ++turn) one(turn);
      end.record(stream_);
      stream_.synchronize();
      const std::chrono::duration<double, std::milli> host =
          std::chrono::steady_clock::now() - before;
      const bool cpu = options_.device == Device::cpu;
      if (i >= 0) milliseconds.push_back(cpu ? host.count() : Event::milliseconds(begin, end));
    }
    std::nth_element(milliseconds.begin(),
                     milliseconds.begin() + static_cast<std::ptrdiff_t>(milliseconds.size() / 2),
                     milliseconds.end());
    return bytes_of_one * turns / (1e-3 * milliseconds[milliseconds.size() / 2]);
  }

  void release() { memory_.clear(); }

 private:
  void put(const Tensor& t, const std::vector<std::byte>& piece) {
    for (int64_t at = 0; at < t.bytes(); at += static_cast<int64_t>(piece.size())) {
      const int64_t count = std::min(static_cast<int64_t>(piece.size()), t.bytes() - at);
      copy_bytes(static_cast<std::byte*>(t.data) + at, piece.data(), count, stream_);
    }
    stream_.synchronize();
  }

  Options options_;
  Stream stream_;
  Scratch scratch_;
  std::vector<Memory> memory_;
  std::vector<float> pattern_;
};

// What one call of a kernel touches, and the call.
struct Call {
  double bytes;
  std::function<void()> run;
};

class Report {
 public:
  Report(Bench& bench, double copy_rate) : bench_(bench), copy_rate_(copy_rate) {}

  // Of the kernels that follow, behind their names.
  void of_shape(int64_t rows, int64_t width) { shape_ = fmt::format(" {}x{}", rows, width); }

  void add(const std::string& name, const std::function<Call()>& make) {
    std::vector<Call> calls;
    double bytes = 0;
    do {
      calls.push_back(make());
      bytes += calls.back().bytes;
    } while (bytes < static_cast<double>(bench_.bytes()));
    const double rate = bench_.rate(calls[0].bytes, static_cast<int>(calls.size()),
                                    [&](int turn) { calls[static_cast<size_t>(turn)].run(); });
    std::printf("{\"kernel\": \"%s%s\", \"GB/s\": %.1f, \"share_of_copy\": %.3f}\n", name.c_str(),
                shape_.c_str(), rate / 1e9, rate / copy_rate_);
    std::fflush(stdout);
    bench_.release();
  }

 private:
  Bench& bench_;
  double copy_rate_;
  std::string shape_;
};

double copy_rate(Bench& bench) {
  const int64_t n = bench.bytes() / 4;
  const Tensor from = bench.numbers({n}, DType::bf16), to = bench.make({n}, DType::bf16);
  const double rate =
      bench.rate(4.0 * static_cast<double>(n), 1, [&](int) { copy(bench.context(), from, to); });
  std::printf("{\"kernel\": \"copy\", \"GB/s\": %.1f, \"share_of_copy\": 1.0}\n", rate / 1e9);
  bench.release();
  return rate;
}

constexpr DType half = DType::bf16;

void elementwise_kernels(Bench& bench, Report& report, int64_t rows, int64_t width) {
  const double n = static_cast<double>(rows * width);
  const Shape shape{rows, width};
  report.add("cast f32 to bf16", [&]() -> Call {
    const Tensor x = bench.numbers(shape, DType::f32), y = bench.make(shape, half);
    return {6 * n, [&, x, y] { cast(bench.context(), x, y); }};
  });
  report.add("add", [&]() -> Call {
    const Tensor x = bench.numbers(shape, half), y = bench.numbers(shape, half);
    return {6 * n, [&, x, y] { add(bench.context(), x, y, y); }};
  });
  report.add("dropout", [&]() -> Call {
    const Tensor x = bench.numbers(shape, half), y = bench.make(shape, half);
    const Tensor rows_of = bench.make({rows}, DType::i64);
    iota(bench.context(), rows_of, 0);
    return {4 * n, [&, x, y, rows_of] {
              dropout(bench.context(), x, y, {0.1, {1, 2, 3}, rows_of});
            }};
  });
  report.add("sum of squares", [&]() -> Call {
    const Tensor x = bench.numbers(shape, DType::f32), total = bench.make({1}, DType::f64);
    return {4 * n, [&, x, total] { sum_of_squares(bench.context(), x, total); }};
  });
  report.add("column sum", [&]() -> Call {
    const Tensor x = bench.numbers(shape, half), sums = bench.make({width}, DType::f32);
    return {2 * n, [&, x, sums] { column_sum(bench.context(), x, sums); }};
  });
}

void activation_kernels(Bench& bench, Report& report, int64_t rows, int64_t width) {
  const double n = static_cast<double>(rows * width);
  for (const auto& [name, kind] : {std::pair{"gelu tanh", Activation::gelu_tanh},
                                   {"gelu erf", Activation::gelu_erf},
                                   {"swiglu", Activation::swiglu}}) {
    const int64_t inputs = kind == Activation::swiglu ? 2 : 1;
    const double bytes = 2 * n * static_cast<double>(inputs + 1);
    report.add(std::string(name) + " forward", [&]() -> Call {
      const Tensor x = bench.numbers({rows, inputs * width}, half);
      const Tensor y = bench.make({rows, width}, half);
      return {bytes, [&, x, y, kind] { activation_forward(bench.context(), kind, x, y); }};
    });
    report.add(std::string(name) + " backward", [&]() -> Call {
      const Tensor x = bench.numbers({rows, inputs * width}, half);
      const Tensor dy = bench.numbers({rows, width}, half);
      return {bytes + 2 * n * static_cast<double>(inputs),
              [&, x, dy, kind] { activation_backward(bench.context(), kind, x, dy, x); }};
    });
  }
}

void norm_kernels(Bench& bench, Report& report, int64_t rows, int64_t width) {
  const double n = static_cast<double>(rows * width);
  for (const auto& [name, kind] : {std::pair{"LayerNorm", Norm::layer}, {"RMSNorm", Norm::rms}}) {
    const auto statistics = [&] { return bench.numbers({rows}, DType::f32); };
    report.add(fmt::format("residual + {} forward", name), [&]() -> Call {
      ResidualNorm t;
      t.kind = kind;
      t.residual = bench.numbers({rows, width}, half);
      t.x = bench.numbers({rows, width}, half);
      t.sum = t.residual;
      t.weight = bench.numbers({width}, half);
      if (kind == Norm::layer) t.shift = bench.numbers({width}, half);
      t.y = bench.make({rows, width}, half);
      if (kind == Norm::layer) t.mean = statistics();
      t.reciprocal = statistics();
      return {8 * n, [&, t] { residual_norm_forward(bench.context(), t); }};
    });
    report.add(fmt::format("residual + {} backward", name), [&]() -> Call {
      ResidualNormBackward t;
      t.kind = kind;
      t.sum = bench.numbers({rows, width}, half);
      t.weight = bench.numbers({width}, half);
      if (kind == Norm::layer) t.mean = statistics();
      t.reciprocal = statistics();
      t.dy = bench.numbers({rows, width}, half);
      t.dsum_above = bench.numbers({rows, width}, half);
      t.dsum = t.dsum_above;
      t.dweight = bench.make({width}, DType::f32);
      if (kind == Norm::layer) t.dshift = bench.make({width}, DType::f32);
      return {8 * n, [&, t] { residual_norm_backward(bench.context(), t); }};
    });
  }
}

void token_kernels(Bench& bench, Report& report, int64_t rows, int64_t width, int64_t vocabulary) {
  const double n = static_cast<double>(rows * width);
  report.add("embedding forward", [&]() -> Call {
    const Tensor ids = bench.ids(rows, vocabulary), y = bench.make({rows, width}, half);
    const Tensor table = bench.numbers({vocabulary, width}, half);
    return {4 * n, [&, ids, table, y] { embedding_forward(bench.context(), ids, table, 0, y); }};
  });
  report.add("embedding backward", [&]() -> Call {
    const Tensor ids = bench.ids(rows, vocabulary), dy = bench.numbers({rows, width}, half);
    const Tensor table = bench.make({vocabulary, width}, DType::f32);
    const double touched = static_cast<double>(std::min(rows, vocabulary) * width);
    return {2 * n + 8 * touched,
            [&, ids, dy, table] { embedding_backward(bench.context(), ids, dy, 0, table); }};
  });
  const int64_t length = std::max<int64_t>(1, rows / 64);
  report.add("position embedding forward", [&]() -> Call {
    const Tensor x = bench.numbers({rows, width}, half);
    const Tensor table = bench.numbers({length, width}, half);
    return {4 * n, [&, x, table] { position_embedding_forward(bench.context(), table, 0, x); }};
  });
  report.add("position embedding backward", [&]() -> Call {
    const Tensor dx = bench.numbers({rows, width}, half);
    const Tensor table = bench.make({length, width}, DType::f32);
    return {2 * n + 8.0 * static_cast<double>(length * width),
            [&, dx, table] { position_embedding_backward(bench.context(), dx, 0, table); }};
  });
  report.add("cross entropy", [&]() -> Call {
    const int64_t some = std::max<int64_t>(1, rows / 8);
    const Tensor logits = bench.numbers({some, vocabulary}, half);
    const Tensor targets = bench.ids(some, vocabulary), loss = bench.make({some}, DType::f32);
    return {4.0 * static_cast<double>(some * vocabulary), [&, logits, targets, loss, vocabulary] {
              cross_entropy(bench.context(), logits, targets, {0, vocabulary}, loss);
            }};
  });
  report.add("rotary", [&]() -> Call {
    const Tensor x = bench.numbers({1, rows, width / 64, 64}, half);
    const Tensor table = bench.make({rows, 32, 2}, DType::f32);
    const Tensor positions = bench.make({rows}, DType::i32);
    iota(bench.context(), positions, 0);
    return {4 * n + 256.0 * static_cast<double>(rows),
            [&, x, table, positions] { rotary(bench.context(), x, table, positions, false); }};
  });
}

void optimizer_kernels(Bench& bench, Report& report, int64_t n) {
  report.add("AdamW", [&]() -> Call {
    const AdamWTensors t{.weight = bench.numbers({n}, DType::f32),
                         .gradient = bench.numbers({n}, DType::f32),
                         .exp_avg = bench.make({n}, DType::f32),
                         .exp_avg_sq = bench.make({n}, DType::f32),
                         .rounded = bench.make({n}, half)};
    const Tensor scalars = bench.numbers({adamw_scalar_count}, DType::f32);
    fill(bench.context(), scalars, 0.0f);
    fill(bench.context(), scalars.slice(0, 0, skip_update), 1e-3f);
    return {30.0 * static_cast<double>(n),
            [&, t, scalars] { adamw(bench.context(), t, scalars, {}); }};
  });
}

struct Sizes {
  int64_t rows, hidden, inner, vocabulary;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i], value = argv[i + 1];
    if (name == "--device") {
      options.device = device_named(value);
    } else if (name == "--mib") {
      options.mib = std::stoll(value);
    } else if (name == "--repeats") {
      options.repeats = std::stoi(value);
    } else {
      fail("kernel_rates", "'{}' was given; allowed: --device, --mib, --repeats", name);
    }
  }
  check(options.mib >= 1 && options.repeats >= 1, "kernel_rates",
        "--mib {} --repeats {}; at least 1 of each is allowed", options.mib, options.repeats);
  return options;
}

void run(const Options& options) {
  Bench bench(options);
  Report report(bench, copy_rate(bench));
  const bool small = options.mib < 64;
  // Rows of a micro-batch of the 124M, 1.3B and 7B models: what fills the chip in a step.
  const auto sizes = small ? std::vector<Sizes>{{64, 192, 192, 257}}
                           : std::vector<Sizes>{{65536, 768, 3072, 50304},
                                                {32768, 2048, 8192, 50304},
                                                {4096, 4096, 11008, 32000}};
  for (const auto& [rows, hidden, inner, vocabulary] : sizes) {
    report.of_shape(rows, hidden);
    elementwise_kernels(bench, report, rows, hidden);
    norm_kernels(bench, report, rows, hidden);
    token_kernels(bench, report, rows, hidden, vocabulary);
    report.of_shape(rows, inner);
    activation_kernels(bench, report, rows, inner);
  }
  report.of_shape(1, small ? 4096 : 1 << 26);
  optimizer_kernels(bench, report, small ? 4096 : 1 << 26);
}

}  // namespace
}  // namespace switchyard::ops

int main(int argc, char** argv) {
  try {
    switchyard::ops::run(switchyard::ops::parse(argc, argv));
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "kernel_rates: %s\n", problem.what());
    return 1;
  }
}
