#include <array>
#include <atomic>
#include <string>

#include "core/error.h"
#include "core/logging.h"
#include "core/ops/attention/attention.h"
#include "core/ops/attention/choice.h"
#include "core/ops/attention/mask.h"
#include "core/ops/attention/own.h"
#include "core/ops/backends.h"

namespace switchyard::ops {

namespace {

using Pass = CudnnAttention::Pass;

constexpr std::string_view where = "attention";

// The plan of a slice, which is all of it without dropout.
CudnnAttention slice_of(Pass pass, const AttentionBackward& t, const AttentionOptions& options) {
  CudnnAttention slice = cudnn_attention_of(pass, t, options);
  if (options.dropout == 0) return slice;
  const AttentionSlices slices = attention_slices(slice, options.mask_bytes);
  slice.batch = slices.samples;
  slice.heads = slices.heads;
  slice.kv_heads = slices.kv_heads;
  return slice;
}

std::string_view name_of(Pass pass) { return pass == Pass::forward ? "forward" : "backward"; }

// Says once for each pass that cuDNN was wanted and refused.
void tell(Pass pass, const std::string& reason) {
  static std::array<std::atomic<bool>, 2> told{};
  if (told.at(static_cast<size_t>(pass)).exchange(true)) return;
  log::warning("attention {} runs in own kernels, not cuDNN's: {}", name_of(pass), reason);
}

// Whether cuDNN computes it. Dropout runs in our own kernels unless cuDNN is asked for.
bool takes_cudnn(Pass pass, const AttentionBackward& t, const AttentionOptions& options) {
  const AttentionBackend backend = attention_backend();
  if (backend == AttentionBackend::own) return false;
  const bool asked = backend == AttentionBackend::cudnn;
  if (!asked && options.dropout > 0) return false;
  std::string reason = cudnn_cannot(t, options);
  if (reason.empty()) {
    reason = cudnn_attention_refusal(slice_of(pass, t, options));
    if (!reason.empty() && !asked) tell(pass, reason);
  }
  check(reason.empty() || !asked, where, "cuDNN was asked for, but {}", reason);
  return reason.empty();
}

void* at(const Tensor& t, int64_t sample, int64_t head) {
  if (!t) return nullptr;
  return static_cast<std::byte*>(t.data) +
         (sample * t.stride[0] + head * t.stride[2]) * size_of(t.dtype);
}

CudnnAttentionData data_at(const AttentionBackward& t, int64_t sample, int64_t head,
                           int64_t kv_head) {
  CudnnAttentionData data;
  data.q = at(t.q, sample, head);
  data.k = at(t.k, sample, kv_head);
  data.v = at(t.v, sample, kv_head);
  data.out = at(t.out, sample, head);
  data.log_sum = t.log_sum.as<float>() + (sample * t.q.shape[2] + head) * t.q.shape[1];
  data.dout = at(t.dout, sample, head);
  data.dq = at(t.dq, sample, head);
  data.dk = at(t.dk, sample, kv_head);
  data.dv = at(t.dv, sample, kv_head);
  return data;
}

Shape mask_shape(const CudnnAttention& slice) {
  return {slice.batch, slice.heads, slice.length, slice.length};
}

// Slice by slice, the mask of each made where the one before was.
std::string run_with_mask(const Context& context, const CudnnAttention& slice,
                          const AttentionBackward& t, const AttentionOptions& options) {
  Scratch::Scope scope(context.scratch);
  const Tensor mask = scope.allocate(mask_shape(slice), slice.dtype);
  const int64_t group = slice.heads / slice.kv_heads;
  std::string refusal;
  for (int64_t sample = 0; sample < t.q.shape[0]; sample += slice.batch) {
    for (int64_t head = 0; head < t.q.shape[2] && refusal.empty(); head += slice.heads) {
      AttentionOptions of_slice = options;
      of_slice.first_sample += sample;
      of_slice.first_head += head;
      attention_mask(context, mask, of_slice);
      CudnnAttentionData data = data_at(t, sample, head, head / group);
      data.mask = mask.data;
      refusal = run_cudnn_attention(context, slice, data);
    }
  }
  return refusal;
}

// Whether cuDNN has computed it. What it refuses is left to our own kernels, unless it was asked
// for.
bool run_cudnn(Pass pass, const Context& context, const AttentionBackward& t,
               const AttentionOptions& options) {
  if (!takes_cudnn(pass, t, options)) return false;
  const CudnnAttention slice = slice_of(pass, t, options);
  const std::string refusal = options.dropout > 0
                                  ? run_with_mask(context, slice, t, options)
                                  : run_cudnn_attention(context, slice, data_at(t, 0, 0, 0));
  if (refusal.empty()) return true;
  check(attention_backend() != AttentionBackend::cudnn, where, "cuDNN was asked for, but {}: {}",
        name_of(pass), refusal);
  tell(pass, refusal);
  return false;
}

void note(const char* body) {
  if (auto* profiler = Profiler::active()) profiler->note({body, "", 0});
}

// Takes once what a call will take.
void prepare(Pass pass, const Context& context, const AttentionBackward& t,
             const AttentionOptions& options) {
  Scratch::Scope scope(context.scratch);
  if (takes_cudnn(pass, t, options)) {
    const CudnnAttention slice = slice_of(pass, t, options);
    if (options.dropout > 0) scope.allocate(mask_shape(slice), slice.dtype);
    scope.allocate_bytes(cudnn_attention_workspace_bytes(slice));
  } else if (pass == Pass::backward) {
    scope.allocate(t.log_sum.shape, DType::f32);
  }
}

}  // namespace

void cuda::attention_forward(const Context& context, const Tensor& q, const Tensor& k,
                             const Tensor& v, const Tensor& out, const Tensor& log_sum,
                             const AttentionOptions& options) {
  AttentionBackward t;
  t.q = q;
  t.k = k;
  t.v = v;
  t.out = out;
  t.log_sum = log_sum;
  if (run_cudnn(Pass::forward, context, t, options)) return note("cuDNN");
  own_attention_forward(context, q, k, v, out, log_sum, options);
  note("own kernels");
}

void cuda::attention_backward(const Context& context, const AttentionBackward& t,
                              const AttentionOptions& options) {
  if (run_cudnn(Pass::backward, context, t, options)) return note("cuDNN");
  own_attention_backward(context, t, options);
  note("own kernels");
}

void cuda::prepare_attention(const Context& context, const AttentionBackward& t,
                             const AttentionOptions& options) {
  AttentionBackward forward = t;  // which is called without what follows
  forward.dout = forward.dq = forward.dk = forward.dv = {};
  prepare(Pass::forward, context, forward, options);
  if (t.dq) prepare(Pass::backward, context, t, options);
}

}  // namespace switchyard::ops
