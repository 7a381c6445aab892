#pragma once

#include "core/ops/attention/kernel.h"
#include "core/ops/context.h"

// Private to core/ops: how attention's own kernels get their arguments; for .cu files.
namespace switchyard::cuda::attention {

template <class T>
Heads<T> heads_of(const Tensor& t) {
  const auto packed = [&](int axis) {
    return t.shape[axis] == 1 || t.stride[static_cast<size_t>(axis)] % Pack<T>::size == 0;
  };
  const bool in_packs = takes_packs<T>(t.data, t.shape[3]) && packed(0) && packed(1) && packed(2);
  return {t.as<T>(), t.stride[0], t.stride[1], t.stride[2], in_packs};
}

inline Dropout dropout_of(const ops::AttentionOptions& options) {
  if (options.dropout == 0) return {};
  return {true,
          dropout_threshold(options.dropout),
          static_cast<float>(1 / (1 - options.dropout)),
          options.key,
          options.first_sample,
          options.first_head,
          options.all_heads,
          options.sequence_length};
}

inline Problem problem_of(const Tensor& q, const Tensor& k, const ops::AttentionOptions& options) {
  return {q.shape[0],
          q.shape[1],
          k.shape[1],
          q.shape[2],
          k.shape[2],
          static_cast<int>(q.shape[3]),
          options.scale,
          options.query_positions.as<int32_t>(),
          options.key_positions.as<int32_t>(),
          dropout_of(options)};
}

// Calls body.template operator()<Tile<padded>>() for the head size.
template <class Body>
void with_tile(int64_t head_dim, const Body& body) {
  switch (ops::attention_padded(head_dim)) {
    case 64:
      return body.template operator()<Tile<64>>();
    case 128:
      return body.template operator()<Tile<128>>();
    default:
      return body.template operator()<Tile<256>>();
  }
}

}  // namespace switchyard::cuda::attention
