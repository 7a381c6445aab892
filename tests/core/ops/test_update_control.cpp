#include "core/ops/update_control.h"

#include <limits>

#include "tests/core/ops/op_test.h"

namespace switchyard::ops::test {
namespace {

using Numbers = std::vector<double>;

constexpr double infinite = std::numeric_limits<double>::infinity();

class UpdateControlTest : public testing::TestWithParam<Device> {
 protected:
  UpdateControlTest() {
    t.totals = bench.zeros({total_count}, DType::f64);
    t.learning_rate = bench.holding({0.25}, {1}, DType::f64);
    t.counters = bench.zeros({counter_count}, DType::i64);
    t.loss_scale = bench.holding({1}, {1}, DType::f32);
    t.scalars = bench.zeros({adamw_scalar_count}, DType::f32);
    t.report = bench.zeros({report_count}, DType::f64);
  }

  // A step whose totals are these; what it reports.
  Numbers step(double loss, double tokens, double squares) {
    assign(t.totals, {loss, tokens, squares});
    update_control(bench.context(), t, options);
    return values(t.report);
  }
  void start_scaling(double scale) {
    options.scaling.dynamic = true;
    assign(t.loss_scale, {scale});
    assign(t.counters, {0, 0, 0, static_cast<double>(options.scaling.hysteresis)});
  }
  // The loss scale after a step that overflows or does not.
  double scale_after(bool overflow) {
    step(8, 4, overflow ? infinite : 1);
    return values(t.loss_scale)[0];
  }

  Workbench bench{GetParam()};
  UpdateControl t;
  UpdateControlOptions options;
};

TEST_P(UpdateControlTest, MeanLossNormAndScalars) {
  options.multiplier = 2;
  options.clip_norm = 100;
  assign(t.loss_scale, {8});
  assign(t.counters, {2, 5, 0, 0});
  // Gradients of sum 48 over 4 tokens, multiplied by 2 * 8: their mean has norm 3 / 4.
  const Numbers report = step(6, 4, 48.0 * 48.0);
  EXPECT_EQ(report, (Numbers{1.5, 4, 0.75, 0, 8, 3}));
  EXPECT_EQ(values(t.counters), (Numbers{3, 5, 0, 0}));
  EXPECT_EQ(values(t.loss_scale), Numbers{8});
  const Numbers scalars = values(t.scalars);
  EXPECT_EQ(scalars[learning_rate], 0.25);
  EXPECT_EQ(scalars[gradient_scale], 1.0 / 64);
  EXPECT_EQ(scalars[exp_avg_factor], static_cast<float>(1 / (1 - 0.9 * 0.9 * 0.9)));
  EXPECT_EQ(scalars[exp_avg_sq_factor], static_cast<float>(1 / (1 - 0.999 * 0.999 * 0.999)));
  EXPECT_EQ(scalars[skip_update], 0);
}

TEST_P(UpdateControlTest, ClipsTheNormOfTheMean) {
  options.clip_norm = 0.5;
  const auto scale_of = [&](double squares) {
    step(1, 2, squares);
    return values(t.scalars)[gradient_scale];
  };
  EXPECT_EQ(scale_of(16.0), static_cast<float>(0.5 * (0.5 / (2 + 1e-6))));
  EXPECT_EQ(scale_of(1.0), 0.5);  // a norm equal to the bound
  options.clip_norm = 0;
  EXPECT_EQ(scale_of(1e20), 0.5);
}

TEST_P(UpdateControlTest, SkipsWhatIsNotFinite) {
  const double nan = std::nan("");
  double skipped = 0;
  for (const auto& [loss, squares] :
       {std::pair{1.0, infinite}, {1.0, nan}, {infinite, 1.0}, {nan, 1.0}, {-infinite, 1.0}}) {
    const Numbers report = step(loss, 4, squares);
    EXPECT_EQ(report[report_skipped], 1);
    EXPECT_EQ(report[report_applied], 0);
    EXPECT_EQ(values(t.scalars)[skip_update], 1);
    EXPECT_EQ(values(t.counters), (Numbers{0, ++skipped, 0, 0}));
    EXPECT_EQ(values(t.loss_scale), Numbers{1}) << "a scale that is not dynamic stays";
  }
  EXPECT_EQ(step(0, 0, 0)[report_skipped], 1) << "no tokens have no mean";
}

// Corrections count the updates applied, not the steps.
TEST_P(UpdateControlTest, SkippedStepsDoNotCountForBiasCorrections) {
  step(1, 1, 1);
  step(1, 1, infinite);
  EXPECT_EQ(step(1, 1, 1)[report_applied], 2);
  EXPECT_NEAR(values(t.scalars)[exp_avg_factor], 1 / (1 - 0.9 * 0.9), 1e-6);
}

TEST_P(UpdateControlTest, HysteresisHalvesAfterItsOverflows) {
  start_scaling(1024);
  EXPECT_EQ(scale_after(true), 1024);
  EXPECT_EQ(scale_after(false), 1024);  // good steps short of a window do not forgive
  EXPECT_EQ(scale_after(true), 512);
  EXPECT_EQ(scale_after(true), 256);  // and again at once
}

TEST_P(UpdateControlTest, AWindowOfGoodStepsDoublesAndForgives) {
  options.scaling.window = 3;
  start_scaling(1024);
  EXPECT_EQ(scale_after(true), 1024);
  EXPECT_EQ(scale_after(false), 1024);
  EXPECT_EQ(scale_after(false), 1024);
  EXPECT_EQ(scale_after(true), 512);  // the window begins anew
  EXPECT_EQ(scale_after(false), 512);
  EXPECT_EQ(scale_after(false), 512);
  EXPECT_EQ(scale_after(false), 1024);
  EXPECT_EQ(scale_after(true), 1024);  // hysteresis is full again
  EXPECT_EQ(scale_after(true), 512);
  EXPECT_EQ(values(t.counters)[skipped_updates], 4);
  EXPECT_EQ(values(t.counters)[applied_updates], 5);
}

TEST_P(UpdateControlTest, TheScaleStaysInItsBounds) {
  options.scaling.hysteresis = 1;
  options.scaling.least = 3;
  start_scaling(8);
  EXPECT_EQ(scale_after(true), 4);
  EXPECT_EQ(scale_after(true), 3);
  EXPECT_EQ(scale_after(true), 3);
  options.scaling.window = 1;
  start_scaling(0x1p127);
  EXPECT_EQ(scale_after(false), 0x1p127) << "an infinite scale could not be halved";
}

// The report is of the step; the changed scale is for the next one.
TEST_P(UpdateControlTest, ReportsTheScaleOfTheStep) {
  options.scaling.hysteresis = 1;
  start_scaling(64);
  EXPECT_EQ(step(1, 1, infinite)[report_scale], 64);
  const Numbers report = step(2, 1, 32.0 * 32.0);
  EXPECT_EQ(report[report_scale], 32);
  EXPECT_EQ(report[report_norm], 1);
}

TEST_P(UpdateControlTest, NamesWhatIsWrong) {
  UpdateControl wrong = t;
  wrong.totals = t.report;
  expect_error([&] { update_control(bench.context(), wrong, options); },
               "[update_control] totals has shape [6]; [3] is allowed");
  wrong = t;
  wrong.counters = t.totals;
  expect_error([&] { update_control(bench.context(), wrong, options); }, "counters is f64");
}

INSTANTIATE_TEST_SUITE_P(All, UpdateControlTest, testing::ValuesIn(devices()),
                         [](const auto& tested) { return std::string(name_of(tested.param)); });

}  // namespace
}  // namespace switchyard::ops::test
