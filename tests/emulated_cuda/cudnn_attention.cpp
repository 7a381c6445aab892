#include "core/ops/attention/cudnn.h"
#include "core/ops/attention/own.h"
#include "core/ops/elementwise.h"
#include "tests/emulated_cuda/refusals.h"

// Stands in for attention by cuDNN: our own kernels behind its plans. It has no dropout by a mask.
namespace switchyard::ops {

namespace {

using Pass = CudnnAttention::Pass;

const char* name_of(Pass pass) { return pass == Pass::forward ? "forward" : "backward"; }

Tensor rows(void* data, const CudnnAttention& a, int64_t heads, const CudnnAttention::Strides& s) {
  Tensor t(data, a.dtype, {a.batch, a.length, heads, a.head_dim}, Device::cuda);
  t.stride = {s[0], s[1], s[2], 1};
  return t;
}

bool told_to_refuse(const char* call, Pass pass) {
  return emulated::refuses(call) || emulated::refuses(call, name_of(pass));
}

}  // namespace

int64_t cudnn_version() { return 91900; }

std::string cudnn_attention_refusal(const CudnnAttention& attention) {
  if (told_to_refuse("attention-plan", attention.pass)) return "the stand-in refuses the plan";
  return attention.dropout > 0 ? "this build has no attention by cuDNN with dropout" : "";
}

// Of the positions and of backward's own scratch, as run_cudnn_attention takes them.
int64_t cudnn_attention_workspace_bytes(const CudnnAttention& a) {
  return (a.length + a.batch * a.heads * a.length) * size_of(DType::f32) + 1024;
}

std::string run_cudnn_attention(const Context& context, const CudnnAttention& a,
                                const CudnnAttentionData& d) {
  if (told_to_refuse("attention-run", a.pass)) return "the stand-in refuses to run";
  Scratch::Scope scope(context.scratch);
  AttentionOptions options;
  options.scale = a.scale;
  options.query_positions = scope.allocate({a.length}, DType::i32);
  iota(context, options.query_positions, 0);
  options.key_positions = options.query_positions;
  options.positions_in_order = true;
  options.sequence_length = a.length;
  options.all_heads = a.heads;
  AttentionBackward t;
  t.q = rows(d.q, a, a.heads, a.q);
  t.k = rows(d.k, a, a.kv_heads, a.k);
  t.v = rows(d.v, a, a.kv_heads, a.v);
  t.out = rows(d.out, a, a.heads, a.out);
  t.log_sum = Tensor(d.log_sum, DType::f32, {a.batch, a.heads, a.length}, Device::cuda);
  if (a.pass == Pass::forward) {
    own_attention_forward(context, t.q, t.k, t.v, t.out, t.log_sum, options);
    return "";
  }
  t.dout = rows(d.dout, a, a.heads, a.dout);
  t.dq = rows(d.dq, a, a.heads, a.dq);
  t.dk = rows(d.dk, a, a.kv_heads, a.dk);
  t.dv = rows(d.dv, a, a.kv_heads, a.dv);
  own_attention_backward(context, t, options);
  return "";
}

std::string cudnn_attention_refusal(const CudnnAttention& attention, const std::string&) {
  return cudnn_attention_refusal(attention);
}

}  // namespace switchyard::ops
