// What each checkpoint of an average counts for, and averages of several paths.
#include "launch/path/average_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "core/error.h"
#include "launch/path/average.h"
#include "launch/path/run_folder.h"
#include "parallel/comm/communicators.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using testing::AllOf;
using testing::DoubleNear;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pointwise;

template <class Body>
std::string error_of(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::vector<double> of(const std::string& weights_of, std::vector<int64_t> steps) {
  return average_coefficients(weights_of, {std::move(steps), true});
}

std::string refusal(const std::string& weights_of, std::vector<int64_t> steps, bool one = true) {
  return error_of([&] { average_coefficients(weights_of, {std::move(steps), one}); });
}

// docs/averages.md: c_0 = 1 - w_1, c_j = w_j - w_(j+1), c_(n-1) = w_(n-1), w_j = f(j/n).
TEST(AverageCoefficients, AreThoseOfTheFormulas) {
  const auto near = [](std::vector<double> expected) {
    return Pointwise(DoubleNear(1e-15), expected);
  };
  EXPECT_THAT(of("uniform", {1, 2, 9, 10}), ElementsAre(0.25, 0.25, 0.25, 0.25));
  EXPECT_THAT(of("linear", {10, 20, 30, 40}), near({0.25, 0.25, 0.25, 0.25}));
  EXPECT_THAT(
      of("1-sqrt", {10, 20, 30, 40}),
      near({0.5, std::sqrt(0.5) - 0.5, std::sqrt(0.75) - std::sqrt(0.5), 1 - std::sqrt(0.75)}));
  EXPECT_THAT(of("cosine", {10, 20, 30, 40}), near({0.5 - std::sqrt(0.125), std::sqrt(0.125),
                                                    std::sqrt(0.125), 0.5 - std::sqrt(0.125)}));
  EXPECT_THAT(of("ema:0.9", {1, 5, 6}), near({0.81, 0.09, 0.1}));
  EXPECT_THAT(of("ema:0", {1, 5, 6}), ElementsAre(0, 0, 1));
  EXPECT_THAT(of("0.2,0.3,0.5", {1, 5, 6}), near({0.2, 0.3, 0.5}));
  EXPECT_THAT(of("1.5,-0.5", {1, 5}), ElementsAre(1.5, -0.5));
  for (const char* each : {"uniform", "linear", "cosine", "1-sqrt", "ema:0.5", "1"}) {
    EXPECT_THAT(of(each, {7}), ElementsAre(1)) << each;
  }
  for (const char* each : {"linear", "cosine", "1-sqrt", "ema:0.99"}) {
    std::vector<int64_t> steps(100);
    std::iota(steps.begin(), steps.end(), 1);
    const auto all = of(each, steps);
    EXPECT_NEAR(std::accumulate(all.begin(), all.end(), 0.0), 1, 1e-14) << each;
  }
}

TEST(AverageCoefficients, OfBadInputAreRefused) {
  for (const char* bad : {"mean", "", "ema:", "ema:1", "ema:-0.1", "ema:x", "0.5,x", "nan,1"}) {
    EXPECT_THAT(refusal(bad, {1, 2}),
                AllOf(HasSubstr("--weights-of " + std::string(bad)), HasSubstr("is allowed")));
  }
  EXPECT_THAT(refusal("0.5,0.5", {1, 2, 3}), HasSubstr("2 numbers for 3 checkpoints"));
  EXPECT_THAT(refusal("0.5,0.4", {1, 2}), HasSubstr("adds up to 0.9; 1 (within 1e-6)"));
  EXPECT_THAT(refusal("cosine", {1, 2, 4}), HasSubstr("over the steps 1, 2, 4"));
  EXPECT_THAT(refusal("cosine", {1, 2}, false), HasSubstr("over several paths"));
  EXPECT_THAT(refusal("ema:0.9", {1, 2}, false), HasSubstr("over several paths"));
}

constexpr int64_t rows = 48;

PathSpecification specification(const std::string& heads = "4", const std::string& tokenizer = "") {
  Settings given;
  for (const auto& [name, value] : {std::pair{"preset", std::string("gpt2-tiny")},
                                    {"global-batch-size", "1"},
                                    {"num-attention-heads", heads}}) {
    given.set_text(name, value);
  }
  auto path = path_without_data(given);
  path.tokenizer = tokenizer;
  return path;
}

// The value everywhere, in this dtype, a part of it in each rank's shard.
template <class T>
void save(const RunFolder& run, int64_t step, float value, DType dtype, int ranks = 1,
          const std::string& name = "w", int64_t columns = 2) {
  run_thread_ranks(ranks, {}, [&](Communicator& world) {
    CheckpointInfo info;
    info.step = step;
    info.samples = 10 * step;
    const std::vector<T> values(static_cast<size_t>(rows * columns), T(value));
    const Box part{{world.rank() * rows / ranks, 0}, {rows / ranks, columns}};
    const std::vector<ShardedTensor> all = {
        {"/model/" + name, {rows, columns}, dtype, {{part, const_cast<T*>(values.data())}}, {}}};
    CheckpointWriter writer(run.checkpoints(), world.control());
    writer.stage(info, all);
    writer.commit();
  });
}

class Soups : public testing::Test {
 protected:
  Soups() {
    for (const auto* run : {&a_, &b_}) run->write(specification());
  }
  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }
  float mean_of(const std::vector<std::string>& names, const std::string& weights_of,
                const std::string& to, int64_t memory = 1 << 20) const {
    std::vector<std::string> all;
    for (const auto& name : names) all.push_back(at(name));
    average({.members = parse_members(all, ""),
             .output = at(to),
             .weights_of = weights_of,
             .memory_bytes = memory});
    std::vector<float> values(rows * 2);
    made(to).read("/model/w", Box::whole({rows, 2}), values.data());
    EXPECT_EQ(values, std::vector<float>(rows * 2, values.front()));
    return values.front();
  }
  std::string refusal(const std::vector<std::string>& names, const std::string& weights_of,
                      const std::string& to) const {
    return error_of([&] { mean_of(names, weights_of, to); });
  }
  CheckpointReader made(const std::string& name) const {
    return CheckpointReader(RunFolder(at(name)).checkpoint(std::nullopt).folder);
  }

  test::TemporaryFolder folder_;
  RunFolder a_{folder_.path() / "a"}, b_{folder_.path() / "b"};
};

TEST_F(Soups, OfOtherLayoutsAndPrecisionsAreTheMeanOfTheirNumbers) {
  save<float>(a_, 4, 1, DType::f32, 3);
  save<bf16>(b_, 3, 2, DType::bf16, 2);
  save<f16>(b_, 6, 9, DType::f16);
  EXPECT_EQ(mean_of({"a@4", "b@3", "b@6"}, "uniform", "mean"), 4);
  EXPECT_EQ(mean_of({"a@4", "b@3", "b@6"}, "0.5,0.25,0.25", "given", 64), 3.25f);  // row by row
  const auto info = made("given").info();
  EXPECT_EQ(info.step, 6);
  EXPECT_EQ(info.samples, 60);
  EXPECT_THAT(info.documents.at("average"),
              AllOf(HasSubstr(R"("path":"../a")"), HasSubstr(R"("coefficient":0.25)"),
                    HasSubstr(R"("weights_of":"0.5,0.25,0.25")")));
  EXPECT_THAT(describe(members_in(info)), HasSubstr("a@4, " + at("b") + "@3, " + at("b") + "@6"));
}

TEST_F(Soups, AgainChangeNothingAndOthersAreRefused) {
  save<float>(a_, 4, 1, DType::f32);
  save<float>(b_, 4, 2, DType::f32);
  mean_of({"a@4", "b@4"}, "uniform", "mean");
  const auto id = made("mean").info().id;
  mean_of({"a@4", "b@4"}, "uniform", "mean");
  EXPECT_EQ(made("mean").info().id, id);
  EXPECT_THAT(refusal({"a@4", "b@4"}, "0.25,0.75", "mean"),
              HasSubstr("with --weights-of uniform; 0.25,0.75 was asked for"));
  EXPECT_THAT(refusal({"b@4", "a@4"}, "uniform", "mean"), HasSubstr("exists already"));
}

TEST_F(Soups, OfOtherModelsAreRefused) {
  save<float>(a_, 4, 1, DType::f32);
  save<float>(b_, 4, 1, DType::f32, 1, "w", 3);
  EXPECT_THAT(refusal({"a@4", "b@4"}, "uniform", "x"),
              AllOf(HasSubstr("'w' is"), HasSubstr("tensors alike are allowed")));
  save<float>(b_, 5, 1, DType::f32, 1, "v");
  EXPECT_THAT(refusal({"a@4", "b@5"}, "uniform", "x"), HasSubstr("b@5 has no weight 'w'"));
  save<float>(b_, 6, 1, DType::f32);
  b_.write(specification("2"));
  EXPECT_THAT(refusal({"a@4", "b@6"}, "uniform", "x"),
              AllOf(HasSubstr("--num-attention-heads 4"), HasSubstr("paths of one model")));
  b_.write(specification("4", "words"));
  a_.write(specification("4", "bytes"));
  EXPECT_THAT(refusal({"a@4", "b@6"}, "uniform", "x"), HasSubstr("tokenizer 'bytes'"));
  EXPECT_FALSE(std::filesystem::exists(at("x")));
}

TEST(AverageMembers, AreRunsOrSteps) {
  const auto refused = [](const std::vector<std::string>& names, const std::string& steps) {
    return error_of([&] { parse_members(names, steps); });
  };
  EXPECT_EQ(describe(parse_members({"a"}, "2,3")), "the steps 2, 3 of 'a'");
  EXPECT_EQ(describe(parse_members({"a@7", "b@2"}, "")), "a@7, b@2");
  EXPECT_THAT(refused({}, ""), HasSubstr("no run"));
  EXPECT_THAT(refused({"a", "b"}, "2:4:2"), HasSubstr("with 2 names"));
  EXPECT_THAT(refused({"a@4"}, "2:4:2"), HasSubstr("RUN without a step"));
  EXPECT_THAT(refused({"a", "b@2"}, ""), HasSubstr("'a' without --steps"));
  EXPECT_THAT(refused({"a@4", "a@2"}, ""), HasSubstr("'a@2' behind step 4"));
  EXPECT_THAT(refused({"a@4", "./a@4"}, ""), HasSubstr("behind step 4"));
  EXPECT_EQ(describe(parse_members({"a@0", "a@7"}, "")), "the steps 0, 7 of 'a'");
  EXPECT_THAT(refused({"a@0", "a@0"}, ""), HasSubstr("behind step 0; saved steps that rise"));
}

}  // namespace
}  // namespace switchyard
