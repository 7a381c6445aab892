#include <gtest/gtest.h>
#include <hwy/targets.h>

// Linked with the operators' tests, this runs them without AVX-512 on a processor that has it.
namespace switchyard::ops::test {
namespace {

[[maybe_unused]] const bool disabled = [] {
  hwy::DisableTargets(HWY_AVX3 | HWY_AVX3_DL);
  return true;
}();

TEST(BaselineInstructions, AreAllThatIsUsed) {
  EXPECT_EQ(hwy::SupportedTargets() & (HWY_AVX3 | HWY_AVX3_DL), 0);
}

}  // namespace
}  // namespace switchyard::ops::test
