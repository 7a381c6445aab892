// Where two runs and two checkpoints differ, and what counts as no difference.
#include "launch/path/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "core/error.h"
#include "core/files.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

TEST(RelativeDifference, OfAllKindsOfNumbers) {
  EXPECT_EQ(relative_difference(2, 2), 0);
  EXPECT_EQ(relative_difference(0, -0.0), 0);
  EXPECT_EQ(relative_difference(nan, nan), 0);
  EXPECT_EQ(relative_difference(infinity, infinity), 0);
  EXPECT_EQ(relative_difference(0, 1e-300), 1);
  EXPECT_EQ(relative_difference(-1, 1), 2);
  EXPECT_EQ(relative_difference(3, 4), relative_difference(4, 3));
  for (const double other : {nan, -infinity, infinity}) {
    EXPECT_EQ(relative_difference(1, other), infinity);
    EXPECT_EQ(relative_difference(other, 1), infinity);
  }
  EXPECT_EQ(relative_difference(infinity, -infinity), infinity);
}

TEST(StepRecords, AreRead) {
  const test::TemporaryFolder folder;
  EXPECT_THROW(read_step_records(folder.path()), Error);
  write_file_atomically(
      folder.path() / "metrics.jsonl",
      "{\"step\":7,\"loss\":0.1,\"grad_norm\":null,\"learning_rate\":1e-3}\n"
      "no line\n[1]\n{\"loss\":3}\n"
      "{\"step\":8,\"start\":5,\"loss\":2,\"grad_norm\":3,\"validation_loss\":4}\n{\"step\":9,");
  const auto records = read_step_records(folder.path());
  ASSERT_EQ(records.size(), 2U);
  EXPECT_THAT(records.at(7).values, ElementsAre(0.1, testing::IsNan(), 1e-3, testing::IsNan()));
  EXPECT_THAT(records.at(8).values, ElementsAre(2, 3, testing::IsNan(), 4));
}

TEST(CompareRecords, FindsTheFirstAndTheLargest) {
  std::map<int64_t, StepRecord> a, b;
  for (int64_t step = 1; step <= 9; ++step) a[step].values = {1.0, 2.0, 3.0, nan};
  b = a;
  a.erase(1);
  b.erase(9);
  EXPECT_EQ(compare_records(a, b, 0).differing, 0);
  b.at(4).values[1] = 2.002;
  b.at(6).values[0] = 1.5;
  b.at(7).values[3] = 5;
  b.at(8).values[2] = std::nextafter(3.0, 4.0);
  const auto found = compare_records(a, b, 0);
  EXPECT_EQ(found.common, 7);
  EXPECT_EQ(found.first_step, 2);
  EXPECT_EQ(found.last_step, 8);
  EXPECT_EQ(found.only_a, 1);
  EXPECT_EQ(found.only_b, 1);
  EXPECT_EQ(found.differing, 4);
  EXPECT_EQ(found.first->step, 4);
  EXPECT_EQ(found.first->name, "grad_norm");
  EXPECT_EQ(found.largest->step, 7);
  EXPECT_EQ(found.largest->name, "validation_loss");
  EXPECT_EQ(compare_records(a, b, 1e-3).differing, 2);
}

class CompareCheckpoints : public testing::Test {
 protected:
  struct Contents {
    std::vector<float> weights = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    Shape shape = {4, 3};
    std::vector<bf16> halves = {bf16(1.0F), bf16(-2.0F)};
    int64_t counter = 7;
    bool has_moments = true;
  };
  CheckpointReader save(const std::string& name, const Contents& contents) {
    CheckpointInfo info;
    info.step = 5;
    CheckpointStreamWriter writer(folder_.path() / name, info);
    writer.add({"/model/w", contents.shape, DType::f32}, contents.weights.data());
    writer.add({"/model/h", {2}, DType::bf16}, contents.halves.data());
    writer.add({"/optimizer/counters", {1}, DType::i64}, &contents.counter);
    if (contents.has_moments) {
      writer.add({"/optimizer/exp_avg/w", contents.shape, DType::f32}, contents.weights.data());
    }
    writer.finish();
    return CheckpointReader(checkpoint_folder(folder_.path() / name, 5));
  }

  const test::TemporaryFolder folder_;
};

TEST_F(CompareCheckpoints, ThatAreAlike) {
  const auto a = save("a", {}), b = save("b", {});
  for (const int64_t part_bytes : {1, 20, 1 << 20}) {
    int64_t bytes = 0;
    const auto found = compare_checkpoints(
        a, b, "", 0, [&](int64_t part) { bytes += part; }, part_bytes);
    EXPECT_TRUE(found.agrees());
    EXPECT_EQ(found.tensors, 4);
    EXPECT_EQ(found.elements, 12 + 2 + 1 + 12);
    EXPECT_EQ(bytes, 2 * 48 + 4 + 8);
    EXPECT_FALSE(found.first);
  }
}

TEST_F(CompareCheckpoints, FindsElements) {
  Contents other;
  other.weights[7] = 7.5F;
  other.weights[0] = -0.0F;
  other.halves[1] = bf16(-2.5F);
  other.counter = 8;
  const auto a = save("a", {}), b = save("b", other);
  for (const int64_t part_bytes : {1, 1 << 20}) {
    const auto found = compare_checkpoints(a, b, "", 0, {}, part_bytes);
    EXPECT_FALSE(found.agrees());
    EXPECT_EQ(found.differing_tensors, 4);
    EXPECT_EQ(found.differing_elements, 1 + 2 + 1 + 2);
    EXPECT_EQ(found.first->tensor, "/model/h");
    EXPECT_THAT(found.first->index, ElementsAre(1));
    EXPECT_EQ(found.first->b, -2.5);
    EXPECT_EQ(found.largest->tensor, "/model/h");
    const auto weights = compare_checkpoints(a, b, "optimizer/exp_avg", 0, {}, part_bytes);
    EXPECT_EQ(weights.differing_elements, 2);
    EXPECT_THAT(weights.first->index, ElementsAre(0, 0));
    EXPECT_THAT(weights.largest->index, ElementsAre(2, 1));
    EXPECT_EQ(weights.largest->a, 7);
    EXPECT_EQ(weights.largest->b, 7.5);
  }
  EXPECT_EQ(compare_checkpoints(a, b, "", 0.1).differing_elements, 2);
  EXPECT_TRUE(compare_checkpoints(a, b, "", 0.2).agrees());
  EXPECT_FALSE(compare_checkpoints(a, b, "model", 0.1).agrees());
}

TEST_F(CompareCheckpoints, NamesTensorsThatAreElsewhereOrOfAnotherForm) {
  Contents other;
  other.has_moments = false;
  other.shape = {3, 4};
  const auto a = save("a", {}), b = save("b", other);
  const auto found = compare_checkpoints(a, b, "", 1e9);
  EXPECT_FALSE(found.agrees());
  EXPECT_THAT(found.only_a, ElementsAre("/optimizer/exp_avg/w"));
  EXPECT_THAT(found.only_b, IsEmpty());
  EXPECT_THAT(found.unlike, ElementsAre("/model/w: f32 [4, 3] and f32 [3, 4]"));
  EXPECT_THAT(compare_checkpoints(b, a, "", 0).only_b, ElementsAre("/optimizer/exp_avg/w"));
}

}  // namespace
}  // namespace switchyard
