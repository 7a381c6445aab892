#include <gtest/gtest.h>

#include <set>
#include <utility>

#include "core/ops/attention/cudnn.h"
#include "core/ops/attention/mask.h"
#include "tests/core/ops/op_test.h"

// What attention hands to cuDNN, by kernels that run without a GPU and a cuDNN that writes down
// what it finds: forward leaves in log_sum how many weights the mask keeps of each row, and in out
// the query plus its group's key of the same position; backward adds log_sum to dout for dq, and
// copies k and v to their gradients.
namespace switchyard::ops {

namespace {

struct Calls {
  int forward = 0, backward = 0;
  std::set<const void*> masks;
} calls;

Tensor view(void* data, const CudnnAttention& a, int64_t heads, const CudnnAttention::Strides& s) {
  Tensor t(data, a.dtype, {a.batch, a.length, heads, a.head_dim}, Device::cuda);
  t.stride = {s[0], s[1], s[2], 1};
  return t;
}

std::vector<double> rows_kept(const CudnnAttention& a, const CudnnAttentionData& d) {
  const Tensor mask(d.mask, a.dtype, {a.batch, a.heads, a.length, a.length}, Device::cuda);
  const auto kept = test::values(mask);
  std::vector<double> rows(kept.size() / static_cast<size_t>(a.length));
  for (size_t i = 0; i < kept.size(); ++i) rows[i / static_cast<size_t>(a.length)] += kept[i];
  return rows;
}

}  // namespace

std::string cudnn_attention_refusal(const CudnnAttention&) { return ""; }
std::string cudnn_attention_refusal(const CudnnAttention&, const std::string&) { return ""; }
int64_t cudnn_version() { return 91900; }

int64_t cudnn_attention_workspace_bytes(const CudnnAttention&) { return 4096; }

std::string run_cudnn_attention(const Context& context, const CudnnAttention& a,
                                const CudnnAttentionData& d) {
  context.stream.synchronize();
  calls.masks.insert(d.mask);
  const Tensor log_sum(d.log_sum, DType::f32, {a.batch, a.heads, a.length}, Device::cuda);
  const auto q = test::values(view(d.q, a, a.heads, a.q));
  const auto k = test::values(view(d.k, a, a.kv_heads, a.k));
  std::vector<double> out(q.size());
  const auto at = [&](int64_t b, int64_t i, int64_t h, int64_t heads, int64_t c) {
    return static_cast<size_t>(((b * a.length + i) * heads + h) * a.head_dim + c);
  };
  const bool forward = a.pass == CudnnAttention::Pass::forward;
  ++(forward ? calls.forward : calls.backward);
  if (forward) test::assign(log_sum, rows_kept(a, d));
  const auto kept = test::values(log_sum);
  const auto dout = forward ? q : test::values(view(d.dout, a, a.heads, a.dout));
  for (int64_t b = 0; b < a.batch; ++b) {
    for (int64_t i = 0; i < a.length; ++i) {
      for (int64_t h = 0; h < a.heads; ++h) {
        const double row = kept[static_cast<size_t>((b * a.heads + h) * a.length + i)];
        for (int64_t c = 0; c < a.head_dim; ++c) {
          const size_t x = at(b, i, h, a.heads, c);
          const size_t y = at(b, i, h / (a.heads / a.kv_heads), a.kv_heads, c);
          out[x] = forward ? q[x] + k[y] : row + dout[x];
        }
      }
    }
  }
  test::assign(forward ? view(d.out, a, a.heads, a.out) : view(d.dq, a, a.heads, a.dq), out);
  if (forward) return "";
  test::assign(view(d.dk, a, a.kv_heads, a.dk), k);
  test::assign(view(d.dv, a, a.kv_heads, a.dv), test::values(view(d.v, a, a.kv_heads, a.v)));
  return "";
}

namespace test {
namespace {

constexpr int64_t batch = 3, heads = 6, kv_heads = 3, length = 40, dim = 8;

class AttentionSlicesTest : public testing::Test {
 protected:
  AttentionSlicesTest() {
    t.q = whole_numbers({batch, length, heads, dim});
    t.k = whole_numbers({batch, length, kv_heads, dim});
    t.v = whole_numbers(t.k.shape);
    t.dout = whole_numbers(t.q.shape);
    t.out = bench.strided(t.q.shape, DType::f16, 8);
    t.dq = bench.strided(t.q.shape, DType::f16, 8);
    t.dk = bench.strided(t.k.shape, DType::f16, 16);
    t.dv = bench.strided(t.k.shape, DType::f16, 24);
    t.log_sum = bench.zeros({batch, heads, length}, DType::f32);
    options.positions_in_order = true;
    options.query_positions = options.key_positions = bench.zeros({length}, DType::i32);
    options.sequence_length = length;
    options.dropout = 0.3;
    options.key = {42, 3, 7};
    options.first_sample = 5;
    options.first_head = 2;
    options.all_heads = 9;
    calls = {};
    set_attention_backend(AttentionBackend::cudnn);
  }
  ~AttentionSlicesTest() override { set_attention_backend(AttentionBackend::automatic); }

  // Sums of them are exact in f16.
  Tensor whole_numbers(const Shape& shape) {
    const Tensor x = bench.strided(shape, DType::f16, 8);
    std::vector<double> numbers(static_cast<size_t>(x.elements()));
    for (double& number : numbers) number = static_cast<double>(++made % 101);
    assign(x, numbers);
    return x;
  }

  bool keeps(int64_t b, int64_t h, int64_t i, int64_t j) const {
    const int64_t site = (options.first_sample + b) * options.all_heads + options.first_head + h;
    const auto element = static_cast<uint64_t>((site * length + i) * length + j);
    return j <= i && options.key.word(element) >= dropout_threshold(options.dropout);
  }

  std::vector<double> kept() const {
    std::vector<double> rows;
    for (int64_t row = 0; row < batch * heads * length; ++row) {
      double count = 0;
      for (int64_t j = 0; j < length; ++j) {
        count += keeps(row / length / heads, row / length % heads, row % length, j) ? 1 : 0;
      }
      rows.push_back(count);
    }
    return rows;
  }

  Workbench bench{Device::cuda};
  AttentionBackward t;
  AttentionOptions options;
  int made = 0;
};

TEST_F(AttentionSlicesTest, CoverEverySampleAndHeadWithItsOwnMask) {
  const int64_t head_bytes = length * length * 2;
  for (const auto& [mask_bytes, slices] : {std::pair{int64_t{1}, 9},
                                           {2 * head_bytes, 9},
                                           {6 * head_bytes, 3},
                                           {17 * head_bytes, 3},
                                           {18 * head_bytes, 1}}) {
    calls = {};
    options.mask_bytes = mask_bytes;
    attention_forward(bench.context(), t.q, t.k, t.v, t.out, t.log_sum, options);
    attention_backward(bench.context(), t, options);
    EXPECT_EQ(calls.forward, slices);
    EXPECT_EQ(calls.backward, slices);
    EXPECT_EQ(calls.masks.size(), 1u) << "one mask's memory serves all slices";
    const auto rows = kept();
    EXPECT_EQ(values(t.log_sum), rows);
    EXPECT_EQ(values(t.dk), values(t.k));
    EXPECT_EQ(values(t.dv), values(t.v));
    const auto q = values(t.q), k = values(t.k), dout = values(t.dout), out = values(t.out);
    const auto dq = values(t.dq);
    for (size_t x = 0; x < q.size(); ++x) {
      const size_t c = x % dim, h = x / dim % heads, i = x / dim / heads % length;
      const size_t b = x / dim / heads / length;
      ASSERT_EQ(out[x], q[x] + k[((b * length + i) * kv_heads + h / 2) * dim + c]);
      ASSERT_EQ(dq[x], dout[x] + rows[(b * heads + h) * length + i]);
    }
  }
}

TEST_F(AttentionSlicesTest, WithoutDropoutAreOne) {
  options.dropout = 0;
  calls = {};
  options.mask_bytes = 1;
  set_attention_backend(AttentionBackend::automatic);
  prepare_attention(bench.context(), t, options);
  const auto allocations = memory_statistics().allocations;
  attention_backward(bench.context(), t, options);
  EXPECT_EQ(calls.backward, 1);
  EXPECT_EQ(memory_statistics().allocations, allocations);
}

TEST_F(AttentionSlicesTest, DropoutRunsInOwnKernelsUnlessCudnnIsAskedFor) {
  set_attention_backend(AttentionBackend::automatic);
  attention_forward(bench.context(), t.q, t.k, t.v, t.out, t.log_sum, options);
  EXPECT_EQ(calls.forward, 0);
}

// The mask itself, in packs and, for odd lengths, element by element.
TEST_F(AttentionSlicesTest, MasksAreThoseOfTheGenerator) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    for (const int64_t rows : {8, 24, 37, 40}) {
      const Tensor mask = bench.random({2, 3, rows, rows}, dtype);
      options.sequence_length = rows;
      attention_mask(bench.context(), mask, options);
      const auto found = values(mask);
      for (int64_t x = 0; x < static_cast<int64_t>(found.size()); ++x) {
        const int64_t j = x % rows, i = x / rows % rows;
        const int64_t h = x / rows / rows % 3, b = x / rows / rows / 3;
        const int64_t site =
            (options.first_sample + b) * options.all_heads + options.first_head + h;
        const auto element = static_cast<uint64_t>((site * rows + i) * rows + j);
        const bool kept = j <= i && options.key.word(element) >= dropout_threshold(options.dropout);
        ASSERT_EQ(found[static_cast<size_t>(x)], kept ? 1.0 : 0.0) << rows << " " << x;
      }
    }
  }
}

}  // namespace
}  // namespace test
}  // namespace switchyard::ops
