#include "core/profiler.h"

#include <gmock/gmock.h>

#include <map>
#include <thread>

#include "core/ops/elementwise.h"
#include "core/ops/matmul/matmul.h"
#include "tests/core/ops/op_test.h"

namespace switchyard::ops::test {
namespace {

using testing::EndsWith;
using testing::StartsWith;

class ProfilerTest : public testing::TestWithParam<Device> {
 protected:
  Workbench bench{GetParam()};
};

Profiler::Line line_of(const Profiler& profiler, const std::string& operation) {
  for (const auto& line : profiler.lines()) {
    if (line.operation == operation) return line;
  }
  return {};
}

TEST_P(ProfilerTest, TimesOperatorsByNameAndPart) {
  const Tensor x = bench.random({96, 96}, DType::f32), y = bench.zeros({96, 96}, DType::f32);
  Stream& stream = bench.context().stream;
  matmul(bench.context(), x, x, y);  // before: not counted
  Profiler profiler(GetParam());
  profiler.begin();
  for (int i = 0; i < 3; ++i) matmul(bench.context(), x, x, y);
  {
    const ProfiledPart part("head");
    add(bench.context(), x, y, y);
  }
  profiler.end(stream);
  fill(bench.context(), y, 0.0f);  // behind: not counted

  EXPECT_EQ(line_of(profiler, "matmul").calls, 3);
  EXPECT_EQ(line_of(profiler, "matmul").part, "");
  EXPECT_EQ(line_of(profiler, "add").part, "head");
  EXPECT_EQ(profiler.lines().size(), 2u);
  double sum = 0;
  for (const auto& line : profiler.lines()) sum += line.milliseconds;
  EXPECT_GE(sum, 0);
  EXPECT_LE(sum, profiler.milliseconds() * 1.001);
}

// Host work before the first operator is none of the stretch.
TEST_P(ProfilerTest, BeginsAtTheFirstOperator) {
  const Tensor x = bench.zeros({8}, DType::f32);
  Profiler profiler(GetParam());
  profiler.begin();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  fill(bench.context(), x, 1.0f);
  profiler.end(bench.context().stream);
  EXPECT_LT(profiler.milliseconds(), 250);
  profiler.begin();
  profiler.end(bench.context().stream);
  EXPECT_EQ(profiler.milliseconds(), 0);
}

TEST_P(ProfilerTest, ListsProductsOneByOne) {
  const Tensor x = bench.random({8, 16}, DType::f32), w = bench.random({24, 16}, DType::f32);
  const Tensor y = bench.zeros({8, 24}, DType::f32), dw = bench.zeros({24, 16}, DType::f32);
  const Tensor sums = bench.zeros({24}, DType::f32), bias = bench.zeros({24}, DType::f32);
  Profiler profiler(GetParam());
  profiler.reserve(1);
  profiler.begin();
  for (int i = 0; i < 2; ++i) {
    matmul(bench.context(), x, w, y, {.transpose_b = true, .bias = bias});
  }
  matmul(bench.context(), y, x, dw, {.transpose_a = true, .accumulate = true, .row_sums = sums});
  profiler.end(bench.context().stream);
  const std::string library = GetParam() == Device::cpu ? "oneDNN" : "cuBLASLt";
  std::map<std::string, Profiler::Line> lines;
  for (const auto& line : profiler.lines()) lines[line.note.detail] = line;
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(profiler.calls(), 3);
  const auto& gradient = lines.rbegin()->second;
  EXPECT_THAT(gradient.note.detail,
              StartsWith("weight gradient [24, 8] transposed x [8, 16] of f32 added to f32, bias "
                         "gradient, fusion "));
  const auto& forward = lines.begin()->second;
  EXPECT_EQ(forward.note.detail,
            "forward [8, 16] x [16, 24] transposed of f32 to f32, bias, fusion full (BIAS)");
  EXPECT_EQ(forward.calls, 2);
  EXPECT_EQ(forward.note.backend, library);
  EXPECT_EQ(forward.note.operations, 2.0 * 8 * 16 * 24);
  EXPECT_NEAR(forward.operations_per_second() * forward.milliseconds, 2e3 * 2 * 8 * 16 * 24, 1);
}

// A twin is part of its product and goes by its parts' names.
TEST_P(ProfilerTest, NamesWhatIsDoneBehindAProduct) {
  const Tensor x = bench.random({5, 7}, DType::f32), w = bench.random({9, 7}, DType::f32);
  const Tensor y = bench.zeros({5, 9}, DType::f32), input = bench.zeros({5, 9}, DType::f32);
  Profiler profiler(GetParam());
  profiler.begin();
  matmul(bench.context(), x, w, y,
         {.transpose_b = true, .bias = bench.zeros({9}, DType::f32), .gelu_input = input});
  profiler.end(bench.context().stream);
  ASSERT_EQ(profiler.lines().size(), 1u);
  EXPECT_THAT(profiler.lines()[0].note.detail, EndsWith("fusion bias (BIAS), then gelu"));
}

TEST_P(ProfilerTest, OneAtATime) {
  Profiler first(GetParam()), second(GetParam());
  first.begin();
  expect_error([&] { second.begin(); }, "one is allowed");
  first.end(bench.context().stream);
  EXPECT_EQ(Profiler::active(), nullptr);
}

INSTANTIATE_TEST_SUITE_P(All, ProfilerTest, testing::ValuesIn(devices()),
                         [](const testing::TestParamInfo<Device>& test) {
                           return std::string(name_of(test.param));
                         });

}  // namespace
}  // namespace switchyard::ops::test
