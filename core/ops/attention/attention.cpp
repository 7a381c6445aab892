#include "core/ops/attention/attention.h"

#include <algorithm>
#include <atomic>

#include "core/ops/backends.h"
#include "core/ops/checks.h"

namespace switchyard::ops {

namespace {

constexpr std::string_view where = "attention";

std::atomic<AttentionBackend> chosen_backend{AttentionBackend::automatic};

void check_heads(const Tensor& q, const Tensor& k, const Tensor& v) {
  check_floating(where, "q", q);
  check_rank(where, "q", q, 4);
  check_rank(where, "k", k, 4);
  const int64_t heads = q.shape[2], kv_heads = k.shape[2];
  check_shape(where, "k", k, {q.shape[0], k.shape[1], kv_heads, q.shape[3]});
  check_shape(where, "v", v, k.shape);
  check(kv_heads > 0 && heads % kv_heads == 0, where,
        "{} heads of queries over {} heads of keys; a multiple is allowed", heads, kv_heads);
  check(q.shape[3] > 0, where, "q has shape {}; a head_dim of 1 or more is allowed",
        q.shape.to_string());
}

// `t` looks as `model` does, strides aside.
void check_like(std::string_view name, const Tensor& t, const Tensor& model) {
  check_shape(where, name, t, model.shape);
  check_dtype(where, name, t, {model.dtype});
  check_device(where, name, t, model.device);
  check_dense_last_axis(where, name, t);
}

void check_log_sum(const Tensor& log_sum, const Tensor& q) {
  check_dtype(where, "log_sum", log_sum, {DType::f32});
  check_shape(where, "log_sum", log_sum, {q.shape[0], q.shape[2], q.shape[1]});
  check_contiguous(where, "log_sum", log_sum);
  check_device(where, "log_sum", log_sum, q.device);
}

void check_positions(std::string_view name, const Tensor& positions, int64_t length,
                     const Tensor& q, const AttentionOptions& options) {
  check_dtype(where, name, positions, {DType::i32});
  check_shape(where, name, positions, {length});
  check_contiguous(where, name, positions);
  check_device(where, name, positions, q.device);
  if (q.device != Device::cpu) return;
  const auto values = positions.span<int32_t>();
  check(std::is_sorted(values.begin(), values.end()), where, "{} are not ascending", name);
  if (options.dropout == 0 || values.empty()) return;
  check(values.front() >= 0 && values.back() < options.sequence_length, where,
        "{} go from {} to {}; with dropout 0 to sequence_length - 1 = {} is allowed", name,
        values.front(), values.back(), options.sequence_length - 1);
}

void check_dropout(const Tensor& q, const AttentionOptions& options) {
  check(options.dropout >= 0 && options.dropout < 1, where,
        "a dropout of {} was given; 0 <= p < 1 is allowed", options.dropout);
  if (options.dropout == 0) return;
  const int64_t last = options.first_head + q.shape[2];
  check(options.first_sample >= 0 && options.first_head >= 0 && last <= options.all_heads, where,
        "dropout of heads {} to {} from sample {}; heads below all_heads = {} are allowed",
        options.first_head, last - 1, options.first_sample, options.all_heads);
}

void check_inputs(const Tensor& q, const Tensor& k, const Tensor& v,
                  const AttentionOptions& options) {
  check_heads(q, k, v);
  check_like("q", q, q);
  for (const auto& [name, t] : {std::pair{"k", k}, {"v", v}}) {
    check_dtype(where, name, t, {q.dtype});
    check_device(where, name, t, q.device);
    check_dense_last_axis(where, name, t);
  }
  check_dropout(q, options);
  check_positions("query_positions", options.query_positions, q.shape[1], q, options);
  check_positions("key_positions", options.key_positions, k.shape[1], q, options);
}

void check_backward(const AttentionBackward& t) {
  check_like("dout", t.dout, t.q);
  check_like("dq", t.dq, t.q);
  check_like("dk", t.dk, t.k);
  check_like("dv", t.dv, t.v);
}

}  // namespace

void set_attention_backend(AttentionBackend backend) { chosen_backend = backend; }

AttentionBackend attention_backend() { return chosen_backend; }

void attention_forward(const Context& context, const Tensor& q, const Tensor& k, const Tensor& v,
                       const Tensor& out, const Tensor& log_sum, const AttentionOptions& options) {
  check_inputs(q, k, v, options);
  check_like("out", out, q);
  check_log_sum(log_sum, q);
  on_device(q.device, cpu::attention_forward, cuda::attention_forward)(context, q, k, v, out,
                                                                       log_sum, options);
}

void attention_backward(const Context& context, const AttentionBackward& t,
                        const AttentionOptions& options) {
  check_inputs(t.q, t.k, t.v, options);
  check_like("out", t.out, t.q);
  check_log_sum(t.log_sum, t.q);
  check_backward(t);
  on_device(t.q.device, cpu::attention_backward, cuda::attention_backward)(context, t, options);
}

void prepare_attention(const Context& context, const AttentionBackward& t,
                       const AttentionOptions& options) {
  check_inputs(t.q, t.k, t.v, options);
  check_like("out", t.out, t.q);
  check_log_sum(t.log_sum, t.q);
  if (t.dq) check_backward(t);
  if (t.q.device == Device::cuda) cuda::prepare_attention(context, t, options);
}

}  // namespace switchyard::ops
