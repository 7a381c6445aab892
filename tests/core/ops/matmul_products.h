#pragma once

#include <vector>

#include "core/ops/matmul/plan.h"

// The matrix products of three models' training steps, by the models' published sizes.
namespace switchyard::ops::test {

// Of a linear layer with weights [out, in] and a bias: forward, input gradient, and the weight
// gradient of a step's first micro-batch and of the others.
inline std::vector<MatmulProduct> linear_products(int64_t rows, int64_t in, int64_t out,
                                                  DType dtype) {
  MatmulProduct forward = MatmulProduct::forward(rows, in, out, dtype);
  forward.bias = true;
  const MatmulProduct input = MatmulProduct::input_gradient(rows, in, out, dtype);
  MatmulProduct first = MatmulProduct::weight_gradient(rows, in, out, dtype);
  first.row_sums = true;
  MatmulProduct other = first;
  other.accumulate = true;
  return {forward, input, first, other};
}

struct ModelSizes {
  int64_t hidden, inner, vocabulary, rows;
  bool gelu;  // else SwiGLU, and no biases
};

// GPT-2 124M, GPT-3 1.3B, Llama-2 7B; rows of a micro-batch, vocabularies padded to 128.
inline constexpr ModelSizes model_sizes[] = {{768, 3072, 50304, 65536, true},
                                             {2048, 8192, 50304, 32768, true},
                                             {4096, 11008, 32000, 4096, false}};

inline void add_linear(std::vector<MatmulProduct>& all, const ModelSizes& model, int64_t in,
                       int64_t out, DType dtype) {
  for (MatmulProduct p : linear_products(model.rows, in, out, dtype)) {
    if (!model.gelu) p.bias = p.row_sums = false;
    all.push_back(p.dense());
  }
}

// The head has no bias; its rows come in chunks, and its weight gradient adds.
inline void add_head(std::vector<MatmulProduct>& all, const ModelSizes& model, int64_t vocabulary,
                     DType dtype) {
  for (const int64_t rows : {int64_t{8192}, model.rows}) {
    for (MatmulProduct p : linear_products(rows, model.hidden, vocabulary, dtype)) {
      p.bias = p.row_sums = false;
      all.push_back(p.dense());
    }
  }
}

inline void add_gelu(std::vector<MatmulProduct>& all, const ModelSizes& model, int64_t inner,
                     DType dtype) {
  MatmulProduct up = linear_products(model.rows, model.hidden, inner, dtype)[0];
  up.gelu_input = true;
  all.push_back(up.dense());
  MatmulProduct down = linear_products(model.rows, inner, model.hidden, dtype)[1];
  down.gelu_gradient = true;
  all.push_back(down.dense());
}

// Of all three models, whole and split over 2 and 8 tensor-parallel ranks.
inline std::vector<MatmulProduct> model_products() {
  std::vector<MatmulProduct> all;
  for (const ModelSizes& model : model_sizes) {
    for (const int64_t tp : {1, 2, 8}) {
      for (const DType dtype : {DType::bf16, DType::f16, DType::f32}) {
        const int64_t inner = model.inner / tp;
        add_linear(all, model, model.hidden, 3 * model.hidden / tp, dtype);
        add_linear(all, model, model.hidden / tp, model.hidden, dtype);
        add_linear(all, model, model.hidden, (model.gelu ? 1 : 2) * inner, dtype);
        add_linear(all, model, inner, model.hidden, dtype);
        if (model.gelu) add_gelu(all, model, inner, dtype);
        add_head(all, model, model.vocabulary / tp, dtype);
      }
    }
  }
  return all;
}

}  // namespace switchyard::ops::test
