#pragma once

#include <cstdint>
#include <initializer_list>

#include "core/cuda/kernel.h"
#include "core/ops/norm/kernel.h"
#include "core/ops/norm/launch.h"
#include "core/ops/norm/norm.h"

// Private to the norm's CUDA backend: how its two files read the tensors of a call.
namespace switchyard::cuda {

template <class T>
T* data_or_null(const Tensor& t) {
  return t ? t.as<T>() : nullptr;
}

template <class T>
NormParameter<T> norm_parameter(const Tensor& t) {
  NormParameter<T> p;
  if (!t) return p;
  if (t.dtype == DType::f32) {
    p.wide = t.as<float>();
  } else {
    p.narrow = t.as<T>();
  }
  return p;
}

inline NormMask norm_mask(const ops::Dropout& dropout) {
  if (dropout.probability == 0) return {};
  return {dropout.key, dropout_threshold(dropout.probability),
          static_cast<float>(1.0 / (1.0 - dropout.probability)), dropout.row_ids.as<int64_t>()};
}

// Every row of every tensor of a call must begin at a multiple of 16 bytes for packs.
template <class T>
NormLayout norm_layout_of(int64_t hidden, std::initializer_list<Tensor> tensors,
                          bool warps = true) {
  bool packed = hidden % Pack<T>::size == 0;
  for (const Tensor& t : tensors) packed = packed && takes_packs<T>(t.data, hidden);
  return norm_layout(hidden, Pack<T>::size, packed, warps);
}

}  // namespace switchyard::cuda
