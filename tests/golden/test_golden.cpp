#include <fmt/format.h>
#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>

#include "parallel/comm/communicators.h"
#include "tests/golden/golden_trainer.h"
#include "tests/model/host_elements.h"

namespace switchyard::test {
namespace {

std::vector<double> train(const GoldenFile& golden, const Layout& layout, Device device,
                          DType dtype) {
  const int64_t steps = std::min<int64_t>(golden.steps, GOLDEN_STEPS);
  std::vector<double> losses(static_cast<size_t>(steps), 0.0);
  std::mutex mutex;
  run_thread_ranks(layout.ranks(), {}, [&](Communicator& world) {
    omp_set_num_threads(1);  // the models are tiny
    GoldenTrainer trainer(golden, layout, device, dtype, world);
    for (int64_t step = 1; step <= steps; ++step) {
      const double loss = trainer.step(step);
      const std::lock_guard lock(mutex);
      losses[static_cast<size_t>(step - 1)] += loss;
    }
  });
  return losses;
}

GoldenFile read(const char* name) {
  const char* elsewhere = std::getenv("SWITCHYARD_GOLDEN_FOLDER");  // of a package
  return read_golden(std::string(elsewhere ? elsewhere : GOLDEN_FOLDER) + "/" + name + ".h5");
}

void expect_losses(const std::vector<double>& losses, const GoldenFile& golden, double relative) {
  ASSERT_LE(losses.size(), golden.losses.size());
  for (size_t i = 0; i < losses.size(); ++i) {
    EXPECT_NEAR(losses[i], golden.losses[i], relative * golden.losses[i]) << "step " << i + 1;
  }
}

using Case = std::tuple<const char*, Layout, Device>;
class Golden : public testing::TestWithParam<Case> {};

std::string name_of_case(const testing::TestParamInfo<Case>& instance) {
  const auto& [name, layout, device] = instance.param;
  return fmt::format("{}_{}x{}x{}_{}", name, layout.tp, layout.pp, layout.dp, name_of(device));
}

// Measured on the CPU: 2e-7. Its bound shows a norm that is decayed or a clip that is left out.
TEST_P(Golden, EveryLossFollowsPyTorch) {
  const auto& [name, layout, device] = GetParam();
  const GoldenFile golden = read(name);
  expect_losses(train(golden, layout, device, DType::f32), golden,
                device == Device::cpu ? 1e-5 : 1e-4);
}

const Layout layouts[] = {{}, {.tp = 2}, {.pp = 2}, {.tp = 2, .dp = 2, .pp = 2}};
INSTANTIATE_TEST_SUITE_P(Models, Golden,
                         testing::Combine(testing::Values("gpt2", "llama", "neox"),
                                          testing::ValuesIn(layouts), testing::ValuesIn(devices())),
                         name_of_case);

class GoldenBf16 : public testing::TestWithParam<Case> {};

TEST_P(GoldenBf16, EveryLossIsNearPyTorchsInF32) {
  const auto& [name, layout, device] = GetParam();
  const GoldenFile golden = read(name);
  expect_losses(train(golden, layout, device, DType::bf16), golden, 2e-2);
}

const Layout layouts_bf16[] = {{}, {.tp = 2, .dp = 2, .pp = 2}};
INSTANTIATE_TEST_SUITE_P(Models, GoldenBf16,
                         testing::Combine(testing::Values("gpt2", "llama", "neox"),
                                          testing::ValuesIn(layouts_bf16),
                                          testing::ValuesIn(devices())),
                         name_of_case);

}  // namespace
}  // namespace switchyard::test
