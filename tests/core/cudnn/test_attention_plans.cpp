#include <dlfcn.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/ops/attention/choice.h"
#include "core/ops/attention/cudnn.h"

// The graphs that attention asks cuDNN for, put before cuDNN for an H200 that is only described: a
// plan is created and cuDNN checks that it supports it. Building it takes a driver.
namespace switchyard::ops::test {
namespace {

using Pass = CudnnAttention::Pass;

struct Model {
  const char* name;
  int64_t batch, heads, kv_heads, length, head_dim;
};

// q, k and v as parts of one packed row, as the model holds them. Nothing lies behind them.
AttentionBackward packed(const Model& m, DType dtype) {
  const int64_t row = (m.heads + 2 * m.kv_heads) * m.head_dim, width = m.heads * m.head_dim;
  const auto part = [&](int64_t heads, int64_t of_row) {
    Tensor t(nullptr, dtype, {m.batch, m.length, heads, m.head_dim}, Device::cuda);
    t.stride = {m.length * of_row, of_row, m.head_dim, 1};
    return t;
  };
  AttentionBackward t;
  t.q = t.dq = part(m.heads, row);
  t.k = t.v = t.dk = t.dv = part(m.kv_heads, row);
  t.out = t.dout = part(m.heads, width);
  t.log_sum = Tensor(nullptr, DType::f32, {m.batch, m.heads, m.length}, Device::cuda);
  return t;
}

AttentionOptions options_of(const Model& m) {
  AttentionOptions options;
  options.scale = 0.125f;
  options.positions_in_order = true;
  options.sequence_length = m.length;
  options.all_heads = m.heads;
  for (Tensor* positions : {&options.query_positions, &options.key_positions}) {
    *positions = Tensor(nullptr, DType::i32, {m.length}, Device::cuda);
  }
  return options;
}

class AttentionPlans : public testing::Test {
 protected:
  void SetUp() override {
    if (dlopen("libcuda.so.1", RTLD_LAZY) == nullptr) {
      GTEST_SKIP() << "no libcuda.so.1: this CUDA toolkit has no stub of the driver (stubs/)";
    }
    std::ifstream in(SWITCHYARD_H200);
    device_.assign(std::istreambuf_iterator<char>(in), {});
    ASSERT_FALSE(device_.empty()) << SWITCHYARD_H200;
  }

  std::string refusal(const CudnnAttention& attention) const {
    return cudnn_attention_refusal(attention, device_);
  }

 private:
  std::string device_;
};

const Model models[] = {{"gpt2-124m", 64, 12, 12, 1024, 64},
                        {"1.3B", 16, 16, 16, 2048, 128},
                        {"7B", 1, 32, 32, 4096, 128},
                        {"grouped queries", 2, 32, 8, 4096, 128},
                        {"grouped queries, head size 64", 2, 32, 8, 2048, 64},
                        {"head size 256", 2, 4, 4, 2048, 256},
                        {"odd length", 3, 7, 7, 1000, 64},
                        {"odd length, head size 128", 1, 7, 7, 1000, 128},
                        {"odd length, head size 80", 1, 5, 5, 333, 80},
                        {"odd length, head size 256", 3, 1, 1, 33, 256},
                        {"half a tile of 128", 1, 4, 1, 192, 64},
                        {"two positions", 1, 1, 1, 2, 8}};

TEST_F(AttentionPlans, AreSupportedInBothPasses) {
  for (const Model& m : models) {
    for (const DType dtype : {DType::bf16, DType::f16}) {
      AttentionOptions options = options_of(m);
      const AttentionBackward t = packed(m, dtype);
      SCOPED_TRACE(fmt::format("{} {}", m.name, name_of(dtype)));
      EXPECT_EQ(cudnn_cannot(t, options), "");
      EXPECT_EQ(refusal(cudnn_attention_of(Pass::forward, t, options)), "");
      for (const bool deterministic : {true, false}) {
        options.deterministic = deterministic;
        EXPECT_EQ(refusal(cudnn_attention_of(Pass::backward, t, options)), "") << deterministic;
      }
    }
  }
}

TEST_F(AttentionPlans, TakeOurOwnDropoutMaskPartByPart) {
  for (const Model& m : models) {
    AttentionOptions options = options_of(m);
    options.dropout = 0.1;
    const AttentionBackward t = packed(m, DType::bf16);
    SCOPED_TRACE(m.name);
    EXPECT_EQ(cudnn_cannot(t, options), "");
    for (const Pass pass : {Pass::forward, Pass::backward}) {
      CudnnAttention attention = cudnn_attention_of(pass, t, options);
      const AttentionSlices slices = attention_slices(attention, options.mask_bytes);
      attention.batch = slices.samples;
      attention.heads = slices.heads;
      attention.kv_heads = slices.kv_heads;
      EXPECT_EQ(refusal(attention), "");
    }
  }
}

TEST_F(AttentionPlans, NeedTwoPositions) {
  Model m = models[0];
  m.length = 1;
  const AttentionBackward t = packed(m, DType::bf16);
  EXPECT_NE(cudnn_cannot(t, options_of(m)), "");
  EXPECT_NE(refusal(cudnn_attention_of(Pass::backward, t, options_of(m))), "");
}

// The control: what cuDNN cannot do it refuses here, too.
TEST_F(AttentionPlans, AreRefusedWhereCudnnHasNone) {
  const AttentionOptions options = options_of(models[0]);
  const CudnnAttention wide =
      cudnn_attention_of(Pass::backward, packed(models[0], DType::f32), options);
  EXPECT_NE(refusal(wide).find("should be half / bf16"), std::string::npos) << refusal(wide);
  for (const int64_t head_dim : {100, 264}) {
    Model m = models[0];
    m.head_dim = head_dim;
    const AttentionBackward t = packed(m, DType::bf16);
    const std::string why = refusal(cudnn_attention_of(Pass::backward, t, options));
    EXPECT_NE(why.find("multiple of 8"), std::string::npos) << head_dim << ": " << why;
    EXPECT_NE(cudnn_cannot(t, options), "");
  }
}

}  // namespace
}  // namespace switchyard::ops::test
