#include "core/ops/matmul/tuning.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "core/ops/matmul/settings.h"
#include "tests/core/ops/op_test.h"
#include "tests/support/temporary_folder.h"

namespace switchyard::ops::test {
namespace {

using switchyard::test::TemporaryFolder;
using testing::HasSubstr;

const TuningIdentity h200{"NVIDIA H200", 132, 130100, 13000, int64_t{64} << 20};

MatmulProduct product(int64_t m, int64_t n, int64_t k, DType dtype = DType::bf16) {
  return MatmulProduct::forward(m, k, n, dtype);
}

MatmulChoice choice(uint64_t seed) {
  return {Fusion::bias, {seed, ~seed, 0, 1, 2, 3, 4, uint64_t{1} << 63}, 12.5, 13.25, 24};
}

MatmulTuning table_of_two() {
  MatmulTuning table(h200);
  MatmulProduct gradient = product(768, 3072, 8192);
  gradient.transpose_a = gradient.accumulate = gradient.row_sums = true;
  gradient.output = DType::f32;
  table.set(product(8192, 768, 3072), choice(1));
  table.set(gradient, choice(2));
  return table;
}

TEST(MatmulTuning, TextHoldsTheWholeTable) {
  const MatmulTuning table = table_of_two();
  const std::string text = table.to_text();
  EXPECT_EQ(MatmulTuning::parse(text, "text"), table);
  EXPECT_EQ(MatmulTuning::parse(text, "text").to_text(), text);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3);
  EXPECT_THAT(text, HasSubstr("\"device\":\"NVIDIA H200\""));
}

TEST(MatmulTuning, FilesHoldTheWholeTable) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "matmul.jsonl";
  table_of_two().save(file);
  EXPECT_EQ(MatmulTuning::load(file), table_of_two());
  EXPECT_FALSE(std::filesystem::exists(file.string() + ".tmp"));
  expect_error([&] { MatmulTuning::load(folder.path() / "none"); }, "cannot be read");
  expect_error([&] { table_of_two().save(folder.path() / "no" / "folder"); }, "cannot be written");
}

TEST(MatmulTuning, NamesTheLineThatIsDamaged) {
  const std::string text = table_of_two().to_text();
  const size_t second = text.find('\n') + 1, third = text.find('\n', second) + 1;
  const auto refused = [](const std::string& damaged, const std::string& part) {
    expect_error([&] { MatmulTuning::parse(damaged, "table.jsonl"); }, part);
  };
  refused("", "table.jsonl is empty");
  refused("{}\n", "table.jsonl, line 1");
  refused(text.substr(0, third + 20), "table.jsonl, line 3");
  refused(text + text.substr(second, third - second), "stands here twice");
  std::string other = text;
  other.replace(other.find("\"version\":1"), 11, "\"version\":2");
  refused(other, "the version is 2; 1 is allowed");
  other = text;
  other.replace(other.find("\"algorithm\":\"") + 13, 1, "x");
  refused(other, "hexadecimal digits are allowed");
  other = text;
  other.replace(other.find("\"fusion\":\"bias\""), 15, "\"fusion\":\"most\"");
  refused(other, "'most' is no fusion");
}

TEST(MatmulTuning, HoldsForOneDeviceAndVersionAlone) {
  const MatmulTuning table(h200);
  EXPECT_EQ(table.why_not(h200), "");
  TuningIdentity here = h200;
  here.device = "NVIDIA H100 80GB HBM3";
  EXPECT_THAT(table.why_not(here), HasSubstr("timed on NVIDIA H200 with 132"));
  EXPECT_THAT(table.why_not(here), HasSubstr("this is NVIDIA H100 80GB HBM3"));
  for (const auto change :
       {&TuningIdentity::cublaslt, &TuningIdentity::cuda, &TuningIdentity::workspace_bytes}) {
    here = h200;
    here.*change += 1;
    EXPECT_NE(table.why_not(here), "");
  }
  here = h200;
  here.multiprocessors = 114;
  EXPECT_NE(table.why_not(here), "");
}

TEST(MatmulTuning, ListsWhatItLacksOnce) {
  const MatmulTuning table = table_of_two();
  const auto known = product(8192, 768, 3072), unknown = product(5, 6, 7);
  EXPECT_EQ(table.lacks(std::vector{known, unknown, known, unknown}), std::vector{unknown});
}

// On a GPU, with few and short measurements.
class TimedMatmulTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!is_available(Device::cuda)) GTEST_SKIP() << "no GPU";
    bench = std::make_unique<Workbench>(Device::cuda);
    a = bench->random({40, 64}, DType::bf16);
    b = bench->random({48, 64}, DType::bf16);
    c = bench->zeros({40, 48}, DType::bf16);
  }
  void TearDown() override { use_matmul_tuning(nullptr); }

  // Of every epilogue, aligned and odd.
  static std::vector<MatmulProduct> products() {
    std::vector<MatmulProduct> all{product(40, 48, 64), product(17, 33, 29)};
    all[1].bias = true;
    MatmulProduct up = product(40, 48, 64);
    up.bias = up.gelu_input = true;
    MatmulProduct down = product(40, 64, 48);
    down.transpose_b = false;
    down.gelu_gradient = true;
    MatmulProduct gradient = product(48, 64, 40);
    gradient.transpose_a = gradient.row_sums = gradient.accumulate = true;
    gradient.transpose_b = false;
    gradient.output = DType::f32;
    for (const MatmulProduct& p : {up, down, gradient}) all.push_back(p.dense());
    all.push_back(product(24, 40, 56, DType::f32));
    all.push_back(product(24, 40, 56, DType::f16));
    return all;
  }

  MatmulTuning timed() {
    MatmulTuning table(tuning_identity());
    const MatmulTimer quick{.candidates = 3,
                            .repetitions = 1,
                            .milliseconds = 0.01,
                            .warm_milliseconds = 1,
                            .cold_bytes = 1 << 16};
    tune_matmuls(bench->context(), products(), table, quick);
    return table;
  }

  // One product, always of the same operands.
  auto compute() {
    matmul(bench->context(), a, b, c, {.transpose_b = true});
    bench->wait();
    return values(c);
  }

  std::unique_ptr<Workbench> bench;
  Tensor a, b, c;
};

TEST_F(TimedMatmulTest, HasAChoiceForEveryProduct) {
  const int64_t held = memory_statistics().bytes;
  const MatmulTuning table = timed();
  for (const MatmulProduct& p : products()) {
    const MatmulChoice* best = table.find(p);
    ASSERT_NE(best, nullptr) << p.to_string();
    EXPECT_GT(best->microseconds, 0) << p.to_string();
    EXPECT_GE(best->heuristic_microseconds, best->microseconds) << p.to_string();
    EXPECT_GE(best->candidates, 1);
  }
  EXPECT_LE(memory_statistics().bytes - held, int64_t{4} << 20);  // scratch alone
}

// A step's memory may leave none for a second set of its largest product's operands.
TEST_F(TimedMatmulTest, WithoutRoomItIsTheFirstSuggestion) {
  MatmulTuning table(tuning_identity());
  tune_matmuls(bench->context(), products(), table, {.most_bytes = 1 << 10});
  for (const MatmulProduct& p : products()) {
    const MatmulChoice* choice = table.find(p);
    ASSERT_NE(choice, nullptr) << p.to_string();
    EXPECT_EQ(choice->candidates, 0);
    EXPECT_EQ(choice->microseconds, 0);
  }
  const auto untimed = compute();
  use_matmul_tuning(std::make_shared<MatmulTuning>(table));
  EXPECT_EQ(compute(), untimed);
  EXPECT_EQ(MatmulTuning::parse(table.to_text(), "text"), table);
}

TEST_F(TimedMatmulTest, KeepsWhatIsThere) {
  MatmulTuning table(tuning_identity());
  MatmulChoice kept = choice(3);
  for (const MatmulProduct& p : products()) table.set(p, kept);
  tune_matmuls(bench->context(), products(), table, {});
  for (const MatmulProduct& p : products()) EXPECT_EQ(*table.find(p), kept);
}

TEST_F(TimedMatmulTest, TextGivesTheSameBits) {
  const MatmulTuning table = timed();
  use_matmul_tuning(std::make_shared<MatmulTuning>(table));
  const auto first = compute();
  use_matmul_tuning(std::make_shared<MatmulTuning>(MatmulTuning::parse(table.to_text(), "text")));
  EXPECT_EQ(compute(), first);
  const auto reference = [&] {
    use_matmul_tuning(nullptr);
    return compute();
  }();
  expect_near(first, reference, 2 * rounding(DType::bf16), 1e-3);
}

TEST_F(TimedMatmulTest, RefusesATableThatDoesNotHoldHere) {
  TuningIdentity other = tuning_identity();
  other.cublaslt += 1;
  expect_error([&] { use_matmul_tuning(std::make_shared<MatmulTuning>(other)); },
               "the table was timed on");
  MatmulTuning table(other);
  expect_error([&] { tune_matmuls(bench->context(), products(), table); },
               "the table was timed on");
}

TEST_F(TimedMatmulTest, AnAlgorithmThatIsNoneIsReplaced) {
  const auto wanted = compute();
  MatmulTuning table(tuning_identity());
  table.set(product(40, 48, 64), choice(~uint64_t{0}));  // begins with an id that none has
  use_matmul_tuning(std::make_shared<MatmulTuning>(table));
  testing::internal::CaptureStderr();
  EXPECT_EQ(compute(), wanted);
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("refuses the tuning table's algorithm for [40, 64] x [64, 48] transposed"));
}

TEST(MatmulTuning, WithoutAGpuNothingIsTimed) {
  if (is_available(Device::cuda)) GTEST_SKIP() << "there is a GPU";
  EXPECT_THROW(tuning_identity(), Error);
}

}  // namespace
}  // namespace switchyard::ops::test
