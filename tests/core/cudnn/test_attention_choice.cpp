#include <gtest/gtest.h>

#include <string>

#include "core/error.h"
#include "core/memory.h"
#include "core/ops/attention/choice.h"
#include "core/ops/attention/launch.h"

// What decides on a GPU between cuDNN and own kernels, and their launch shapes: all on the host.
namespace switchyard::ops::test {
namespace {

using Pass = CudnnAttention::Pass;

AttentionBackward tensors(DType dtype, int64_t length, int64_t heads, int64_t head_dim) {
  AttentionBackward t;
  const Tensor rows(nullptr, dtype, {2, length, heads, head_dim}, Device::cuda);
  t.q = t.k = t.v = t.out = rows;
  t.log_sum = Tensor(nullptr, DType::f32, {2, heads, length}, Device::cuda);
  return t;
}

AttentionOptions in_order(int64_t length) {
  AttentionOptions options;
  options.positions_in_order = true;
  options.sequence_length = length;
  options.query_positions = Tensor(nullptr, DType::i32, {length}, Device::cuda);
  options.key_positions = options.query_positions;
  return options;
}

void expect_part(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

TEST(AttentionChoice, SaysWhatCudnnCannot) {
  AttentionOptions options = in_order(128);
  EXPECT_EQ(cudnn_cannot(tensors(DType::bf16, 128, 4, 64), options), "");
  EXPECT_EQ(cudnn_cannot(tensors(DType::f16, 128, 4, 256), options), "");
  expect_part(cudnn_cannot(tensors(DType::f32, 128, 4, 64), options), "tensors are f32");
  expect_part(cudnn_cannot(tensors(DType::bf16, 128, 4, 100), options), "head_dim is 100");
  expect_part(cudnn_cannot(tensors(DType::bf16, 128, 4, 264), options),
              "head_dim is 264; cuDNN takes multiples of 8 up to 256");
  AttentionBackward odd = tensors(DType::bf16, 128, 4, 64);
  odd.k.stride[1] += 3;
  expect_part(cudnn_cannot(odd, options), "rows of k do not begin at multiples of 16 bytes");
  options.positions_in_order = false;
  expect_part(cudnn_cannot(tensors(DType::bf16, 128, 4, 64), options), "positions are not 0, 1, 2");
  expect_part(cudnn_cannot(tensors(DType::bf16, 1, 4, 64), in_order(1)), "there is one position");
  options = in_order(256);
  options.dropout = 0.1;
  expect_part(cudnn_cannot(tensors(DType::bf16, 128, 4, 64), options),
              "dropout over 128 positions of a sequence of 256");
}

TEST(AttentionChoice, APlanDependsOnItsPassAlone) {
  const AttentionBackward t = tensors(DType::bf16, 128, 4, 64);
  AttentionOptions options = in_order(128);
  const auto forward = cudnn_attention_of(Pass::forward, t, options);
  options.deterministic = false;
  EXPECT_EQ(cudnn_attention_of(Pass::forward, t, options), forward);
  EXPECT_NE(cudnn_attention_of(Pass::backward, t, options), forward);
  options.scale = 2;
  EXPECT_NE(cudnn_attention_of(Pass::forward, t, options), forward);
}

TEST(AttentionChoice, SlicesDivideTheWholeAndStayWithinTheirRoom) {
  CudnnAttention a;
  for (const int64_t kv_heads : {1, 3, 8}) {
    for (const int64_t group : {1, 4}) {
      for (const int64_t length : {64, 1000, 4096}) {
        a.batch = 6;
        a.kv_heads = kv_heads;
        a.heads = kv_heads * group;
        a.length = length;
        for (const int64_t room : {int64_t{1} << 20, int64_t{64} << 20, int64_t{1} << 34}) {
          const AttentionSlices s = attention_slices(a, room);
          EXPECT_EQ(a.batch % s.samples, 0);
          EXPECT_EQ(a.kv_heads % s.kv_heads, 0);
          EXPECT_EQ(s.heads, s.kv_heads * group);
          EXPECT_TRUE(s.samples == 1 || s.heads == a.heads);
          const bool fits = s.samples * s.heads * length * length * 2 <= room;
          EXPECT_TRUE(fits || (s.samples == 1 && s.kv_heads == 1));
        }
      }
    }
  }
}

TEST(AttentionLaunch, IsWithinTheHardwaresLimits) {
  for (int64_t head_dim = 1; head_dim <= attention_most_head_dim; ++head_dim) {
    for (const int tiles : {attention_forward_tiles, attention_backward_tiles}) {
      const auto shape = attention_launch(3, 40, int64_t{1} << 20, head_dim, tiles);
      EXPECT_NO_THROW(switchyard::cuda::check_launch(shape, "attention"));
      EXPECT_LE(shape.shared_bytes, 163 << 10) << "an A100's block has no more";
      EXPECT_GE(attention_padded(head_dim), head_dim);
    }
  }
  // More than 2^31 elements: 64 samples of 32 heads of 16,384 tokens of 128 channels.
  const auto shape = attention_launch(64, 32, 16384, 128, attention_backward_tiles);
  EXPECT_EQ(shape.blocks(), int64_t{64} * 32 * 256);
  EXPECT_EQ(attention_launch(1, 1, 65, 64, attention_forward_tiles).blocks(), 2);
  EXPECT_THROW(attention_launch(1, 1, 1, 257, attention_forward_tiles), Error);
}

#ifdef SWITCHYARD_HAS_CUDA
TEST(AttentionBackendOption, AnErrorSaysWhyCudnnCannot) {
  Stream stream;
  Scratch scratch;
  const AttentionBackward t = tensors(DType::bf16, 128, 4, 100);
  set_attention_backend(AttentionBackend::cudnn);
  try {
    attention_forward({stream, scratch}, t.q, t.k, t.v, t.out, t.log_sum, in_order(128));
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    expect_part(error.what(), "cuDNN was asked for, but head_dim is 100");
  }
  set_attention_backend(AttentionBackend::automatic);
}
#endif

}  // namespace
}  // namespace switchyard::ops::test
