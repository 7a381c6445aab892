#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>

#include "core/dtype.h"
#include "core/ops/attention/attention.h"

// Private to core/ops: attention as graphs of cuDNN 9, without cuDNN's types. cudnn.cpp
// defines these; no_cudnn.cpp where a build goes without.
namespace switchyard::ops {

// All that a plan depends on. Attention is causal with queries and keys of one length.
struct CudnnAttention {
  enum class Pass : uint8_t { forward, backward };
  using Strides = std::array<int64_t, 3>;  // elements from sample to sample, row, head

  Pass pass = Pass::forward;
  DType dtype = DType::bf16;
  int64_t batch = 0, heads = 0, kv_heads = 0, length = 0, head_dim = 0;
  Strides q{}, k{}, v{}, out{};
  Strides dout{}, dq{}, dk{}, dv{};  // backward
  float scale = 1;
  bool deterministic = true;  // of backward
  // Above 0 weights are multiplied by a mask [batch, heads, length, length] of 0 and 1 in the
  // dtype, and by 1 / (1 - dropout).
  double dropout = 0;

  auto operator<=>(const CudnnAttention&) const = default;  // NOLINT(modernize-use-nullptr)
};

// The plan's arguments, in device memory; log_sum [batch, heads, length].
struct CudnnAttentionData {
  void *q = nullptr, *k = nullptr, *v = nullptr, *out = nullptr, *log_sum = nullptr;
  void* mask = nullptr;                                               // with dropout
  void *dout = nullptr, *dq = nullptr, *dk = nullptr, *dv = nullptr;  // backward
};

// Why there is no plan on the selected GPU; empty where there is one. The first call for a value
// makes the plan, which takes a second or so; threads may call.
std::string cudnn_attention_refusal(const CudnnAttention& attention);
// Of a plan that is not refused.
int64_t cudnn_attention_workspace_bytes(const CudnnAttention& attention);
// Why cuDNN refuses to run it, with nothing computed, or empty; the plan is refused from then on.
std::string run_cudnn_attention(const Context& context, const CudnnAttention& attention,
                                const CudnnAttentionData& data);

// Needs no GPU: why cuDNN supports no plan on the device that `device` describes in JSON (cuDNN's
// own attributes, as CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION takes them), or empty.
std::string cudnn_attention_refusal(const CudnnAttention& attention, const std::string& device);

}  // namespace switchyard::ops
