#include "core/ops/attention/choice.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <initializer_list>
#include <utility>

#include "core/ops/attention/launch.h"

namespace switchyard::ops {

namespace {

constexpr int64_t cudnn_alignment = 16;  // bytes, of tensors and rows

std::string misaligned(std::string_view name, const Tensor& t) {
  const int64_t elements = cudnn_alignment / size_of(t.dtype);
  bool aligned = std::bit_cast<uintptr_t>(t.data) % cudnn_alignment == 0;
  for (int axis = 0; axis < 3; ++axis) {
    aligned =
        aligned && (t.shape[axis] == 1 || t.stride[static_cast<size_t>(axis)] % elements == 0);
  }
  return aligned ? "" : fmt::format("rows of {} do not begin at multiples of 16 bytes", name);
}

CudnnAttention::Strides strides_of(const Tensor& t) {
  return {t.stride[0], t.stride[1], t.stride[2]};
}

// The largest divisor of `whole` that is at most `most`, but at least 1.
int64_t divisor(int64_t whole, int64_t most) {
  int64_t part = std::clamp<int64_t>(most, 1, whole);
  while (whole % part != 0) --part;
  return part;
}

}  // namespace

std::string cudnn_cannot(const AttentionBackward& t, const AttentionOptions& options) {
  const int64_t head_dim = t.q.shape[3], length = t.q.shape[1];
  if (t.q.dtype != DType::bf16 && t.q.dtype != DType::f16) {
    return fmt::format("tensors are {}; cuDNN takes bf16 and f16", name_of(t.q.dtype));
  }
  if (head_dim % 8 != 0 || head_dim > attention_most_head_dim) {
    return fmt::format("head_dim is {}; cuDNN takes multiples of 8 up to {}", head_dim,
                       attention_most_head_dim);
  }
  if (!options.positions_in_order || t.k.shape[1] != length) {
    return "positions are not 0, 1, 2, ... for queries and keys alike, as cuDNN's causal mask is";
  }
  if (options.dropout > 0 && options.sequence_length != length) {
    return fmt::format("dropout over {} positions of a sequence of {}; cuDNN takes a whole one",
                       length, options.sequence_length);
  }
  if (t.q.elements() == 0) return "there is nothing to compute";
  if (length == 1) return "there is one position; cuDNN's backward takes two or more";
  for (const auto& [name, tensor] : {std::pair{"q", &t.q},
                                     {"k", &t.k},
                                     {"v", &t.v},
                                     {"out", &t.out},
                                     {"dout", &t.dout},
                                     {"dq", &t.dq},
                                     {"dk", &t.dk},
                                     {"dv", &t.dv}}) {
    if (tensor->shape.rank() != 4) continue;  // backward's, in forward
    if (std::string what = misaligned(name, *tensor); !what.empty()) return what;
  }
  return "";
}

CudnnAttention cudnn_attention_of(CudnnAttention::Pass pass, const AttentionBackward& t,
                                  const AttentionOptions& options) {
  CudnnAttention a;
  a.pass = pass;
  a.dtype = t.q.dtype;
  a.batch = t.q.shape[0];
  a.heads = t.q.shape[2];
  a.kv_heads = t.k.shape[2];
  a.length = t.q.shape[1];
  a.head_dim = t.q.shape[3];
  a.q = strides_of(t.q);
  a.k = strides_of(t.k);
  a.v = strides_of(t.v);
  a.out = strides_of(t.out);
  a.scale = options.scale;
  a.dropout = options.dropout;
  if (pass == CudnnAttention::Pass::forward) return a;
  a.dout = strides_of(t.dout);
  a.dq = strides_of(t.dq);
  a.dk = strides_of(t.dk);
  a.dv = strides_of(t.dv);
  a.deterministic = options.deterministic;
  return a;
}

AttentionSlices attention_slices(const CudnnAttention& a, int64_t most_bytes) {
  const int64_t head_bytes = a.length * a.length * size_of(a.dtype);
  const int64_t group = a.heads / a.kv_heads;
  const int64_t samples = most_bytes / (head_bytes * a.heads);
  if (samples >= 1) return {divisor(a.batch, samples), a.heads, a.kv_heads};
  const int64_t kv_heads = divisor(a.kv_heads, most_bytes / (head_bytes * group));
  return {1, kv_heads * group, kv_heads};
}

}  // namespace switchyard::ops
