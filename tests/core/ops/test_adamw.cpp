#include "core/ops/adamw.h"

#include <omp.h>

#include "core/ops/elementwise.h"
#include "tests/core/ops/op_test.h"

namespace switchyard::ops::test {
namespace {

using Numbers = std::vector<double>;

class AdamWTest : public testing::TestWithParam<Device> {
 protected:
  AdamWTensors tensors(int64_t count) {
    return {bench.random({count}, DType::f32), bench.zeros({count}, DType::f32),
            bench.zeros({count}, DType::f32), bench.zeros({count}, DType::f32),
            bench.zeros({count}, DType::bf16)};
  }

  // The same tensor for every step of a test.
  Tensor scalars(const AdamWOptions& options, double rate, double scale, int step) {
    assign(scalars_, {rate, scale, 1 / (1 - std::pow(options.beta1, step)),
                      1 / (1 - std::pow(options.beta2, step)), 0});
    return scalars_;
  }

  Workbench bench{GetParam()};

 private:
  Tensor scalars_ = bench.zeros({adamw_scalar_count}, DType::f32);
};

// Loshchilov and Hutter 2019, algorithm 2, in float64.
struct AdamWReference {
  Numbers weight, exp_avg, exp_avg_sq;

  void step(const Numbers& gradient, const AdamWOptions& o, double rate, double scale, int t) {
    for (size_t i = 0; i < weight.size(); ++i) {
      const double g = gradient[i] * scale;
      exp_avg[i] = o.beta1 * exp_avg[i] + (1.0 - o.beta1) * g;
      exp_avg_sq[i] = o.beta2 * exp_avg_sq[i] + (1.0 - o.beta2) * g * g;
      const double m = exp_avg[i] / (1 - std::pow(o.beta1, t));
      const double v = exp_avg_sq[i] / (1 - std::pow(o.beta2, t));
      weight[i] -= rate * o.weight_decay * weight[i];
      weight[i] -= rate * m / (std::sqrt(v) + o.epsilon);
    }
  }
};

TEST_P(AdamWTest, FiftyStepsFollowTheReference) {
  const AdamWOptions options{0.9, 0.95, 1e-8, 0.1};
  for (const int64_t count : {1, 16, 1003}) {
    const AdamWTensors t = tensors(count);
    const Numbers none(static_cast<size_t>(count), 0.0);
    AdamWReference reference{values(t.weight), none, none};
    for (int step = 1; step <= 50; ++step) {
      const double rate = 1e-2 * std::min(1.0, step / 10.0);
      bench.randomize(t.gradient, 1e-3 * step);
      adamw(bench.context(), t, scalars(options, rate, 0.5, step), options);
      reference.step(values(t.gradient), options, rate, 0.5, step);
    }
    expect_near(values(t.weight), reference.weight, 2e-6, 2e-6, "weight");
    expect_near(values(t.exp_avg), reference.exp_avg, 1e-5, 1e-8, "exp_avg");
    expect_near(values(t.exp_avg_sq), reference.exp_avg_sq, 1e-5, 1e-10, "exp_avg_sq");
  }
}

// A decay of a hundredth of a weight's last place, beside updates of many: what it takes off the
// weights, measured against twins without it. The noise of rounding, averaged over the weights and
// steps, is a quarter of the bound. The moments begin anywhere, so that no two updates are alike.
TEST_P(AdamWTest, AFaintDecayTakesItsMeanOffTheWeights) {
  constexpr int64_t count = 1'000'000;
  constexpr int steps = 16;
  constexpr double rate = 1e-6, decay = 1e-3;
  const AdamWTensors t{bench.zeros({count}, DType::f32),
                       bench.random({count}, DType::f32),
                       bench.zeros({count}, DType::f32),
                       bench.zeros({count}, DType::f32),
                       {}};
  const Tensor start = bench.random({count}, DType::f32, 0.02);
  const Tensor moment = bench.random({count}, DType::f32);
  const auto trained = [&](double weight_decay) {
    copy(bench.context(), start, t.weight);
    copy(bench.context(), moment, t.exp_avg);
    fill(bench.context(), t.exp_avg_sq, 1.0f);
    const AdamWOptions options{.weight_decay = weight_decay};
    for (int step = 1; step <= steps; ++step) {
      adamw(bench.context(), t, scalars(options, rate, 1, 1000 + step), options);
    }
    return values(t.weight);
  };
  const Numbers before = values(start), with = trained(decay), without = trained(0);
  double taken = 0, squares = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    taken += before[i] * (without[i] - with[i]);
    squares += before[i] * before[i];
  }
  EXPECT_NEAR(taken / squares, steps * rate * decay, 0.01 * steps * rate * decay);
}

// A constant gradient's moments are closed forms. 1 - 0.9999f would be off by a hundredth of a
// percent, and an average that is rounded twice a step by as much.
TEST_P(AdamWTest, MomentsOfAConstantGradientAreItsPowers) {
  for (const auto& [beta1, beta2] : {std::pair{0.9, 0.9999}, {0.2, 0.0}}) {
    const AdamWOptions options{.beta1 = beta1, .beta2 = beta2};
    const AdamWTensors t = tensors(3);
    assign(t.gradient, {1.0, -3.0, 0.125});
    for (int step = 1; step <= 1000; ++step) {
      adamw(bench.context(), t, scalars(options, 0, 1, step), options);
    }
    const double m = 1 - std::pow(beta1, 1000), v = 1 - std::pow(beta2, 1000);
    expect_near(values(t.exp_avg), {m, -3 * m, 0.125 * m}, 2e-6, 0, "exp_avg");
    expect_near(values(t.exp_avg_sq), {v, 9 * v, v / 64}, 2e-6, 0, "exp_avg_sq");
  }
}

// Nothing of an average that keeps nothing is left, however large it was.
TEST_P(AdamWTest, ABetaOfZeroKeepsNothing) {
  const AdamWOptions options{.beta1 = 0, .beta2 = 0};
  const AdamWTensors t = tensors(2);
  assign(t.exp_avg, {1e6, -1});
  assign(t.exp_avg_sq, {1e12, 1});
  assign(t.gradient, {1e-3, 0});
  adamw(bench.context(), t, scalars(options, 0, 1, 1), options);
  expect_near(values(t.exp_avg), {1e-3, 0}, 1e-6, 0);
  expect_near(values(t.exp_avg_sq), {1e-6, 0}, 1e-6, 0);
}

TEST_P(AdamWTest, RoundedIsTheWeightRounded) {
  const AdamWTensors t = tensors(131);
  bench.randomize(t.gradient);
  adamw(bench.context(), t, scalars({}, 1e-2, 1, 1), {});
  Numbers reference = values(t.weight);
  for (double& v : reference) v = static_cast<float>(bf16(static_cast<float>(v)));
  EXPECT_EQ(values(t.rounded), reference);
}

TEST_P(AdamWTest, RoundedMayBeHalf) {
  AdamWTensors t = tensors(131);
  bench.randomize(t.gradient);
  t.rounded = bench.zeros({131}, DType::f16);
  const Tensor s = scalars({}, 1e-2, 1, 1);
  if (GetParam() == Device::cpu) {
    expect_error([&] { adamw(bench.context(), t, s, {}); }, "rounded is f16; allowed: bf16");
    return;
  }
  adamw(bench.context(), t, s, {});
  Numbers reference = values(t.weight);
  for (double& v : reference) v = static_cast<float>(f16(static_cast<float>(v)));
  EXPECT_EQ(values(t.rounded), reference);
}

TEST_P(AdamWTest, ASkippedUpdateLeavesEverything) {
  const AdamWTensors t = tensors(1003);
  for (const Tensor& x : {t.gradient, t.exp_avg, t.exp_avg_sq, t.rounded}) bench.randomize(x);
  const auto everything = [&] {
    return std::vector{values(t.weight), values(t.gradient), values(t.exp_avg),
                       values(t.exp_avg_sq), values(t.rounded)};
  };
  const auto before = everything();
  const double nan = std::nan("");
  adamw(bench.context(), t, bench.holding({nan, nan, 0, 0, 1}, {adamw_scalar_count}, DType::f32),
        {});
  EXPECT_EQ(everything(), before);
}

// Shards of a flat buffer begin anywhere.
TEST_P(AdamWTest, WhereAShardBeginsDoesNotChangeBits) {
  const AdamWTensors whole = tensors(1003), parts = tensors(1003);
  bench.randomize(whole.gradient);
  assign(parts.weight, values(whole.weight));
  assign(parts.gradient, values(whole.gradient));
  const Tensor s = scalars({}, 1e-2, 1, 1);
  const AdamWOptions options{0.9, 0.95, 1e-8, 0.1};
  adamw(bench.context(), whole, s, options);
  for (const auto& [begin, end] : {std::pair{0, 5}, {5, 402}, {402, 1003}}) {
    const auto part = [b = begin, e = end](const Tensor& t) { return t.slice(0, b, e); };
    adamw(bench.context(),
          {part(parts.weight), part(parts.gradient), part(parts.exp_avg), part(parts.exp_avg_sq),
           part(parts.rounded)},
          s, options);
  }
  EXPECT_EQ(values(parts.weight), values(whole.weight));
  EXPECT_EQ(values(parts.exp_avg), values(whole.exp_avg));
  EXPECT_EQ(values(parts.exp_avg_sq), values(whole.exp_avg_sq));
  EXPECT_EQ(values(parts.rounded), values(whole.rounded));
}

TEST_P(AdamWTest, RoundedMayBeNone) {
  AdamWTensors with = tensors(77);
  bench.randomize(with.gradient);
  AdamWTensors without = tensors(77);
  assign(without.weight, values(with.weight));
  without.gradient = with.gradient;
  without.rounded = {};
  const Tensor s = scalars({}, 1e-2, 1, 1);
  adamw(bench.context(), with, s, {});
  adamw(bench.context(), without, s, {});
  EXPECT_EQ(values(with.weight), values(without.weight));
}

TEST_P(AdamWTest, RateZeroMovesNoWeightButTheMoments) {
  const AdamWTensors t = tensors(40);
  bench.randomize(t.gradient);
  const Numbers before = values(t.weight);
  adamw(bench.context(), t, scalars({}, 0, 1, 1), {0.9, 0.999, 1e-8, 0.1});
  EXPECT_EQ(values(t.weight), before);
  EXPECT_NE(values(t.exp_avg), Numbers(40, 0.0));
}

TEST_P(AdamWTest, ThreadsAndShardsDoNotChangeBits) {
  if (GetParam() != Device::cpu) GTEST_SKIP() << "threads are the CPU's";
  constexpr int64_t count = 200003;
  const Tensor s = scalars({}, 1e-2, 1, 1);
  const AdamWTensors one = tensors(count);
  bench.randomize(one.gradient);
  AdamWTensors many = tensors(count);
  assign(many.weight, values(one.weight));
  assign(many.gradient, values(one.gradient));
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  adamw(bench.context(), one, s, {});
  omp_set_num_threads(3);
  const auto allocations = memory_statistics().allocations;
  const auto shard = [&](int64_t begin, int64_t end) {
    adamw(bench.context(),
          {many.weight.slice(0, begin, end), many.gradient.slice(0, begin, end),
           many.exp_avg.slice(0, begin, end), many.exp_avg_sq.slice(0, begin, end),
           many.rounded.slice(0, begin, end)},
          s, {});
  };
  shard(0, 1237);
  shard(1237, count);
  EXPECT_EQ(memory_statistics().allocations, allocations);
  omp_set_num_threads(threads);
  EXPECT_EQ(values(many.weight), values(one.weight));
  EXPECT_EQ(values(many.exp_avg_sq), values(one.exp_avg_sq));
}

TEST_P(AdamWTest, NamesWhatIsWrong) {
  const AdamWTensors good = tensors(10);
  const Tensor s = scalars({}, 1e-2, 1, 1);
  AdamWTensors t = good;
  t.gradient = t.gradient.slice(0, 0, 9);
  expect_error([&] { adamw(bench.context(), t, s, {}); },
               "[adamw] gradient has shape [9]; [10] is allowed");
  t = good;
  t.exp_avg = t.rounded;
  expect_error([&] { adamw(bench.context(), t, s, {}); }, "exp_avg is bf16; allowed: f32");
  t = good;
  t.rounded = t.weight;
  expect_error([&] { adamw(bench.context(), t, s, {}); }, "rounded is f32; allowed: bf16");
  expect_error([&] { adamw(bench.context(), good, s.slice(0, 0, 3), {}); }, "scalars has shape");
  expect_error([&] { adamw(bench.context(), good, s, {1.0}); }, "0 <= beta < 1");
}

INSTANTIATE_TEST_SUITE_P(All, AdamWTest, testing::ValuesIn(devices()),
                         [](const auto& tested) { return std::string(name_of(tested.param)); });

}  // namespace
}  // namespace switchyard::ops::test
