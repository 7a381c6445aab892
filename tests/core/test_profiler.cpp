#include "core/profiler.h"

#include "core/ops/elementwise.h"
#include "core/ops/matmul.h"
#include "tests/core/ops/op_test.h"

namespace switchyard::ops::test {
namespace {

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
  profiler.begin(stream);
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

TEST_P(ProfilerTest, OneAtATime) {
  Profiler first(GetParam()), second(GetParam());
  first.begin(bench.context().stream);
  expect_error([&] { second.begin(bench.context().stream); }, "one is allowed");
  first.end(bench.context().stream);
  EXPECT_EQ(Profiler::active(), nullptr);
}

INSTANTIATE_TEST_SUITE_P(All, ProfilerTest, testing::ValuesIn(devices()),
                         [](const testing::TestParamInfo<Device>& test) {
                           return std::string(name_of(test.param));
                         });

}  // namespace
}  // namespace switchyard::ops::test
