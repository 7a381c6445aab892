#include "launch/path/given_alike.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "parallel/comm/communicators.h"

namespace switchyard {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string given(const std::string& host, const std::vector<std::string>& words,
                  Device device = Device::cpu) {
  auto specs = path_options();
  const auto more = run_options();
  specs.insert(specs.end(), more.begin(), more.end());
  return text_of_given(host, "train", parse_command(specs, words), device);
}

std::string difference(const std::vector<std::string>& texts) { return first_difference(texts); }

TEST(GivenAlike, TheSameInOtherWordsIsTheSame) {
  EXPECT_EQ(difference({given("n1", {"run", "--lr", "1e-3", "--tp", "2", "--bf16"}),
                        given("n2", {"--bf16", "--tensor-model-parallel-size=2", "--lr=0.001",
                                     "--interface", "ib0", "run"})}),
            "");
  EXPECT_EQ(difference({}), "");
  EXPECT_EQ(difference({"", ""}), "");
}

TEST(GivenAlike, TheFirstRankAndOptionThatDifferAreNamed) {
  const auto same = given("n1", {"run", "--lr", "1"}), late = given("n3", {"run", "--lr", "3"});
  const auto other = given("n2", {"run", "--lr", "2", "--micro-batch-size", "4"});
  EXPECT_EQ(difference({same, "", same, other, late}),
            "--lr is 2 on n2 (rank 3), but 1 on n1 (rank 0); all ranks need to be given the same");
  EXPECT_THAT(difference({same, given("n2", {"run", "--lr", "1", "--save-interval", "5"})}),
              HasSubstr("--save-interval is 5 on n2 (rank 1), but not given on n1 (rank 0)"));
  EXPECT_THAT(difference({given("n1", {"run", "--bf16"}), given("n2", {"run"})}),
              HasSubstr("--bf16 is not given on n2 (rank 1), but true on n1 (rank 0)"));
  EXPECT_THAT(difference({given("n1", {"run"}), given("n2", {"other"})}),
              HasSubstr("what is named is other on n2 (rank 1), but run on n1 (rank 0)"));
  EXPECT_THAT(difference({given("n1", {"run", "--data-path", "1", "a", "2", "b"}),
                          given("n2", {"run", "--data-path", "2", "a", "1", "b"})}),
              HasSubstr("--data-path is 2 SET 1 SET on n2"));
  EXPECT_EQ(difference({given("n1", {"run", "--data-path", "1", "a", "2", "b"}),
                        given("n2", {"run", "--data-path", "1", "c", "2", "d"})}),
            "");
}

// A node whose GPUs are not there would wait elsewhere than the others.
TEST(GivenAlike, ADeviceCountsWhereItIsNotGiven) {
  EXPECT_THAT(difference({given("n1", {"run"}, Device::cuda), given("n2", {"run"})}),
              HasSubstr("--device is cpu on n2 (rank 1), but cuda on n1 (rank 0)"));
}

TEST(GivenAlike, EndsAllRanks) {
  std::vector<std::string> ends(3);
  EXPECT_THROW(
      run_thread_ranks(3, {},
                       [&](Communicator& world) {
                         auto& end = ends[static_cast<size_t>(world.rank())];
                         try {
                           agree_on_given(
                               world.control(),
                               given("n", {"run", world.rank() == 1 ? "--bf16" : "--fp16"}), {});
                         } catch (const AgreedError& error) {
                           end = error.what();
                           EXPECT_EQ(error.code(), ExitCode::usage);
                           throw;
                         }
                       }),
      Error);
  for (const auto& end : ends) EXPECT_THAT(end, HasSubstr("--bf16 is true on n (rank 1)"));
}

}  // namespace
}  // namespace switchyard
