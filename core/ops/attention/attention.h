#pragma once

#include "core/ops/context.h"
#include "core/random.h"
#include "core/tensor.h"

namespace switchyard::ops {

// Causal attention with grouped queries, tiled with an online softmax (Milakov and Gimelshein 2018;
// Dao et al., FlashAttention, 2022): a query sees the keys whose position is not after its own.
// Scores never exist as a whole query_length x key_length matrix.
struct AttentionOptions {
  float scale = 1.0f;      // usually 1 / sqrt(head_dim)
  Tensor query_positions;  // i32 [query_length], ascending
  Tensor key_positions;    // i32 [key_length], ascending
  // Dropout of attention weights, p > 0 only in training. An element's index is
  // ((sample * all_heads + head) * sequence_length + query position) * sequence_length + key
  // position, with sample = first_sample + batch index and head = first_head + head index.
  double dropout = 0.0;
  RandomKey key;
  int64_t first_sample = 0;
  int64_t first_head = 0;
  int64_t all_heads = 0;
  int64_t sequence_length = 0;
  // Both positions are 0, 1, 2, ... and of one length: what a library's causal mask assumes.
  bool positions_in_order = false;
  // Backward gives the same bits each time. Our kernels always do.
  bool deterministic = true;
  // Scratch for the dropout mask that cuDNN is given, part by part; at least one group of heads.
  int64_t mask_bytes = int64_t{256} << 20;
};

// Which body computes attention on a GPU: cuDNN's (bf16 and f16, head sizes that are multiples of 8
// up to 256, two or more positions in order, rows that begin at multiples of 16 bytes) or our own,
// which takes all. Automatic: cuDNN's where it can and there is no dropout. Asking for cuDNN where
// it cannot is an Error that says why. With dropout it is given our own mask.
enum class AttentionBackend : uint8_t { automatic, own, cudnn };
void set_attention_backend(AttentionBackend backend);  // of this process
AttentionBackend attention_backend();
int64_t cudnn_version();  // 91900 for 9.19.0; 0 where this build has no attention by cuDNN

// q, out [batch, query_length, heads, head_dim]; k, v [batch, key_length, kv_heads, head_dim]; all
// of one dtype, f32, bf16 or (on a GPU) f16, any strides with a dense last axis; heads is a
// multiple of kv_heads; head_dim is at most 256 on a GPU. log_sum [batch, heads, query_length] f32
// receives log(sum(exp(scale * score))), for backward.
void attention_forward(const Context& context, const Tensor& q, const Tensor& k, const Tensor& v,
                       const Tensor& out, const Tensor& log_sum, const AttentionOptions& options);

struct AttentionBackward {
  Tensor q, k, v, out, log_sum;  // as in forward
  Tensor dout;                   // as out
  Tensor dq, dk, dv;             // as q, k, v; overwritten
};
void attention_backward(const Context& context, const AttentionBackward& tensors,
                        const AttentionOptions& options);

// Makes what calls with such tensors will need on a GPU, so that they do not: cuDNN's plans, which
// take seconds, and scratch memory. Of the tensors only dtypes, shapes, strides and alignment
// count; without dq it is for forward alone.
void prepare_attention(const Context& context, const AttentionBackward& tensors,
                       const AttentionOptions& options);

}  // namespace switchyard::ops
