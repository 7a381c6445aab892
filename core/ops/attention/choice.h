#pragma once

#include <string>

#include "core/ops/attention/attention.h"
#include "core/ops/attention/cudnn.h"

// Private to core/ops: which body computes attention on a GPU, and what cuDNN is asked for. Pure
// host functions.
namespace switchyard::ops {

// Why cuDNN cannot do it whatever the GPU is; empty where it may.
std::string cudnn_cannot(const AttentionBackward& tensors, const AttentionOptions& options);

// The plan for tensors that cuDNN can do; dout, dq, dk and dv are read for backward alone.
CudnnAttention cudnn_attention_of(CudnnAttention::Pass pass, const AttentionBackward& tensors,
                                  const AttentionOptions& options);

// With dropout a plan works on a part of the samples and heads at a time, whose mask [samples,
// heads, length, length] stays within `most_bytes` (at least one group of heads): all heads of
// `samples` samples, or `heads` heads of one.
struct AttentionSlices {
  int64_t samples, heads, kv_heads;  // of a slice; each divides the whole
};
AttentionSlices attention_slices(const CudnnAttention& attention, int64_t most_bytes);

}  // namespace switchyard::ops
