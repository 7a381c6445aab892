// What comes of an update: skipped ones, the loss scale, remarks of the ranks.
#include <cmath>
#include <limits>

#include "tests/optim/optimizer_rank.h"

namespace switchyard {
namespace {

using ops::test::assign;
using ops::test::devices;
using ops::test::values;
using test::delayed, test::Options, test::options_of, test::Rank, test::rate, test::State;

class UpdateOutcomeTest : public testing::TestWithParam<Device> {};
INSTANTIATE_TEST_SUITE_P(All, UpdateOutcomeTest, testing::ValuesIn(devices()), test::device_name);

// Equal, NaN (of another rank's part) equal to itself.
void expect_same(const State& a, const State& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, numbers] : a) {
    for (size_t e = 0; e < numbers.size(); ++e) {
      const float x = numbers[e], y = b.at(name)[e];
      ASSERT_TRUE(x == y || (std::isnan(x) && std::isnan(y))) << name << " element " << e;
    }
  }
}

TEST_P(UpdateOutcomeTest, ANumberThatIsNotFiniteChangesNothingOnAnyRank) {
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    run_thread_ranks(4, delayed(8), [&](Communicator& world) {
      Rank rank({.layout = {.dp = 2, .pp = 2}, .device = GetParam()}, world);
      rank.step(1);
      State before = rank.state();
      rank.compute_gradients(2);
      const Parameter& p = rank.list[static_cast<size_t>(rank.buffers.owned()[0].parameter)];
      const int64_t at = rank.buffers.owned()[0].parameter_begin;
      if (world.rank() == 3) {
        Rank::change(p.gradient, p, [&](int64_t e, double g) { return e == at ? bad : g; });
      }
      const auto result = rank.update(rate, 1.0);
      EXPECT_TRUE(result.skipped);
      EXPECT_EQ(result.applied, 1);
      // Of the counters, which are the first rank's, that of skipped updates alone moves on.
      if (world.rank() == 0) before[tensor_name(groups::counters)][ops::skipped_updates] = 1;
      expect_same(before, rank.state());
      const auto next = rank.step(2);
      EXPECT_FALSE(next.skipped);
      EXPECT_EQ(next.applied, 2);
    });
  }
}

TEST_P(UpdateOutcomeTest, ALossThatIsNotFiniteSkipsTheUpdate) {
  run_thread_ranks(2, delayed(9), [&](Communicator& world) {
    Rank rank({.layout = {.dp = 2}, .device = GetParam()}, world);
    ops::test::Workbench bench(GetParam());
    ops::test::stream_at_work = &rank.stream;
    const Tensor loss = bench.zeros({1}, DType::f64);
    assign(loss, {world.rank() == 1 ? std::nan("") : 2.0});
    rank.compute_gradients(1);
    EXPECT_TRUE(rank.update(rate, 0.125, loss).skipped);
    assign(loss, {2.0});
    rank.compute_gradients(1);
    const auto good = rank.update(rate, 0.125, loss);
    EXPECT_FALSE(good.skipped);
    EXPECT_EQ(good.loss, 0.5);  // twice 2 over 8 tokens
    EXPECT_EQ(good.tokens, 8);
  });
}

// With a scale of 2^k the gradients of the backward pass are 2^k times too large, exactly.
TEST_P(UpdateOutcomeTest, DividesTheLossScaleOutAndAdjustsIt) {
  run_thread_ranks(1, {}, [&](Communicator& world) {
    Options scaled = options_of(1.0);
    scaled.multiplier = 0.25;
    scaled.scaling = {.dynamic = true, .initial = 256, .least = 1, .window = 2, .hysteresis = 2};
    Rank plain({.options = options_of(1.0), .device = GetParam()}, world);
    Rank rank({.options = scaled, .device = GetParam()}, world);
    const auto step = [&](int number, double scale) {
      rank.compute_gradients(number);
      for (const Parameter& p : rank.list) {
        Rank::change(p.gradient, p, [&](int64_t, double g) { return g * scale * 0.25; });
      }
      return rank.update(rate, 0.125);
    };
    const double infinity = std::numeric_limits<double>::infinity();
    const auto first = step(1, 256);
    EXPECT_EQ(first.loss_scale, 256);
    EXPECT_EQ(first.gradient_norm, plain.step(1).gradient_norm);
    EXPECT_TRUE(step(9, infinity).skipped);  // the first overflow is forgiven
    EXPECT_EQ(step(2, 256).loss_scale, 256);
    EXPECT_EQ(plain.step(2).applied, 2);
    EXPECT_TRUE(step(9, infinity).skipped);
    const auto halved = step(3, 128);
    EXPECT_EQ(halved.loss_scale, 128);
    EXPECT_EQ(halved.applied, 3);
    plain.step(3);
    step(4, 128);
    plain.step(4);
    EXPECT_EQ(step(5, 256).loss_scale, 256);  // two good ones in a row
    plain.step(5);
    State mine = rank.state(), others = plain.state();
    EXPECT_EQ(mine[tensor_name(groups::counters)], (std::vector<float>{5, 2, 1, 2}));
    for (const std::string& name :
         {tensor_name(groups::counters), tensor_name(groups::loss_scale)}) {
      mine.erase(name);
      others.erase(name);
    }
    EXPECT_EQ(mine, others);
  });
}

TEST_P(UpdateOutcomeTest, SumsRemarksOverTheWorld) {
  run_thread_ranks(2, {}, [&](Communicator& world) {
    Rank rank({.layout = {.dp = 2}, .device = GetParam()}, world);
    ops::test::Workbench bench(GetParam());
    ops::test::stream_at_work = &rank.stream;
    const Tensor remarks = bench.zeros({DistributedOptimizer::remark_count}, DType::f64);
    assign(remarks, {static_cast<double>(world.rank()), 3.0});
    assign(rank.tokens, {4.0});
    assign(rank.learning_rate, {rate});
    rank.compute_gradients(1);
    rank.optimizer.step({.loss = {}, .tokens = rank.tokens, .remarks = remarks},
                        rank.learning_rate);
    const auto outcome = DistributedOptimizer::outcome_of(values(rank.optimizer.outcome()));
    EXPECT_EQ(outcome.tokens, 8);
    EXPECT_EQ(outcome.remarks[0], 1);
    EXPECT_EQ(outcome.remarks[1], 6);
  });
}

}  // namespace
}  // namespace switchyard
