#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "launch/health_check.h"
#include "parallel/comm/communicators.h"
#include "parallel/odd_ones.h"

namespace switchyard {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<RankHealth> healthy(size_t ranks) {
  return {ranks, RankHealth{100e9, 20e9, 5e9, 7, 1}};
}

TEST(OddOnes, are_those_that_differ_from_most) {
  const auto odd = [](std::vector<int64_t> values) { return odd_ones(values); };
  EXPECT_THAT(odd({}), IsEmpty());
  EXPECT_THAT(odd({4, 4}), IsEmpty());
  EXPECT_THAT(odd({4, 4, 5}), ElementsAre(2));
  EXPECT_THAT(odd({-1, 4, 5, 4, 4}), ElementsAre(0, 2));
  EXPECT_THAT(odd({4, 5}), ElementsAre(0, 1));
  EXPECT_THAT(odd({4, 5, 4, 5}), ElementsAre(0, 1, 2, 3));
}

TEST(Health, of_like_ranks_is_one_line) {
  const auto report = judge_health(healthy(4), std::vector<RankPlace>(4, {.host = "n1"}));
  EXPECT_EQ(report.summary,
            "health of 4 ranks, medians: matrix products 100 GFLOP/s, worst 100 (rank 0 on n1); "
            "copies 20 GB/s, worst 20 (rank 0 on n1); exchanges with neighbours 5 GB/s, worst 5 "
            "(rank 0 on n1)");
  EXPECT_THAT(report.outliers, IsEmpty());
  EXPECT_EQ(report.wrong, "");
  const std::vector<RankHealth> alone = {{100e9, 20e9, 0, 7, 1}};
  EXPECT_EQ(judge_health(alone, {}).summary,
            "health of 1 rank, medians: matrix products 100 GFLOP/s; copies 20 GB/s");
}

TEST(Health, names_outliers_and_the_factor) {
  auto ranks = healthy(5);
  ranks[3].matrix = 60e9;
  ranks[2].copy = 14e9;  // slower, but not by the factor
  ranks[0].exchange = ranks[4].exchange = 1e9;
  const auto report = judge_health(ranks, {});
  EXPECT_THAT(report.summary, HasSubstr("worst 60 (rank 3)"));
  EXPECT_THAT(report.outliers,
              ElementsAre("matrix products of world rank 3: less than the median's 100 GFLOP/s by "
                          "a factor of more than 1.5",
                          HasSubstr("exchanges with neighbours of world ranks 0 4")));
}

TEST(Health, products_have_the_same_bits_on_like_hardware) {
  auto ranks = healthy(5);
  ranks[4].hardware = 2;  // another device may have others
  ranks[4].product = 8;
  EXPECT_EQ(judge_health(ranks, {}).wrong, "");
  ranks[1].product = 9;
  EXPECT_THAT(judge_health(ranks, {}).wrong,
              HasSubstr("product of world rank 1 has other bits among 4 ranks of like hardware"));
}

TEST(Health, is_measured_on_every_rank) {
  testing::internal::CaptureStderr();
  run_thread_ranks(2, {}, [](Communicator& world) {
    const Mesh mesh = make_mesh({.dp = 2}, world);
    HealthCheck check(mesh, DType::f32, Device::cpu);
    check.run();
  });
  const std::string logged = testing::internal::GetCapturedStderr();
  EXPECT_THAT(logged, HasSubstr("health of 2 ranks"));
  EXPECT_THAT(logged, HasSubstr("neighbours"));
}

}  // namespace
}  // namespace switchyard
