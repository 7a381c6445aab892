// Sequences as in training, which cuDNN may compute.
#include <fmt/format.h>

#include <string>

#include "tests/core/ops/attention_cases.h"

namespace switchyard::ops::test::attention_cases {
namespace {

// As cuDNN computes, which rounds the weights to 16 bits besides.
void expect_like_rounded_reference(const Problem& p, const Trial& setup) {
  const Outputs actual = setup.outputs();
  const Outputs expected = reference(p, setup.options, setup.inputs());
  const DType dtype = setup.t.q.dtype;
  const double absolute = dtype == DType::f32 ? 1e-5 : 8 * rounding(dtype);
  const double relative = 4 * rounding(dtype) + 1e-5;
  expect_near(actual.out, expected.out, relative, absolute, "out");
  expect_near(actual.log_sum, expected.log_sum, 1e-5, dtype == DType::f32 ? 1e-5 : 1e-4, "log_sum");
  expect_near(actual.dq, expected.dq, relative, absolute, "dq");
  expect_near(actual.dk, expected.dk, relative, absolute, "dk");
  expect_near(actual.dv, expected.dv, relative, absolute, "dv");
}

struct AskForCudnn {
  AskForCudnn() { set_attention_backend(AttentionBackend::cudnn); }
  ~AskForCudnn() { set_attention_backend(AttentionBackend::automatic); }
};

TEST_P(AttentionTest, PositionsInOrder) {
  for (const Problem& p : {Problem{2, 128, 128, 4, 2, 64}, {1, 130, 130, 2, 2, 80}}) {
    Trial setup(bench, p, dtype());
    setup.pack(bench, p);
    setup.options.positions_in_order = true;
    prepare_attention(bench.context(), setup.t, setup.options);
    const auto allocations = memory_statistics().allocations;
    setup.run(bench);
    if (device() != Device::cpu) {
      EXPECT_EQ(memory_statistics().allocations, allocations);
    }
    expect_like_rounded_reference(p, setup);
  }
}

// Runs it by cuDNN, both passes; false where this build has none.
bool run_by_cudnn(Workbench& bench, const Trial& setup) {
  const AskForCudnn asked;
  try {
    setup.run(bench);
  } catch (const Error& error) {
    const std::string what = error.what();
    if (what.find("this build has no attention by cuDNN") == std::string::npos) throw;
    return false;
  }
  return true;
}

// As the model calls it; lengths of whole tiles, of half ones and odd ones.
TEST_P(AttentionTest, CudnnEqualsTheFormula) {
  if (device() == Device::cpu || dtype() == DType::f32) GTEST_SKIP() << "not for cuDNN";
  for (const Problem& p : {Problem{2, 128, 128, 4, 4, 64},
                           {2, 128, 128, 6, 2, 128},
                           {1, 192, 192, 4, 1, 64},
                           {1, 77, 77, 3, 3, 80},
                           {3, 33, 33, 1, 1, 256},
                           {1, 2, 2, 1, 1, 8}}) {
    Trial setup(bench, p, dtype());
    setup.pack(bench, p);
    setup.options.positions_in_order = true;
    if (!run_by_cudnn(bench, setup)) GTEST_SKIP() << "no cuDNN in this build";
    SCOPED_TRACE(
        fmt::format("{} x {} heads {}/{} dim {}", p.batch, p.keys, p.heads, p.kv_heads, p.dim));
    expect_like_rounded_reference(p, setup);
    const Outputs first = setup.outputs();
    ASSERT_TRUE(run_by_cudnn(bench, setup));
    expect_same_bits(first, setup.outputs());
  }
}

TEST_P(AttentionTest, CudnnTakesOurMask) {
  if (device() == Device::cpu || dtype() == DType::f32) GTEST_SKIP() << "not for cuDNN";
  for (const Problem& p : {Problem{2, 128, 128, 4, 2, 64, 0.25}, {2, 77, 77, 3, 3, 64, 0.25}}) {
    for (const int64_t mask_bytes : {int64_t{1}, int64_t{256} << 20}) {
      Trial setup(bench, p, dtype());
      setup.pack(bench, p);
      setup.options.positions_in_order = true;
      setup.options.sequence_length = p.keys;
      setup.options.mask_bytes = mask_bytes;
      if (!run_by_cudnn(bench, setup)) GTEST_SKIP() << "no cuDNN in this build";
      SCOPED_TRACE(fmt::format("{} positions, {} bytes for masks", p.keys, mask_bytes));
      expect_like_rounded_reference(p, setup);
    }
  }
}

}  // namespace
}  // namespace switchyard::ops::test::attention_cases
