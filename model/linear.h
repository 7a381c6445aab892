#pragma once

#include "model/products.h"
#include "model/stage_context.h"

namespace switchyard {

// y = x W^T + b with the rows of W (outputs) split over tp: every rank reads all rows of x and has
// its own columns of y (Shoeybi et al., Megatron-LM, 2019, section 3).
class ColumnParallelLinear {
 public:
  // bias may be none.
  ColumnParallelLinear(StageContext& context, ParameterGroup weight, ParameterGroup bias)
      : context_(context), weight_(weight), bias_(bias) {}

  void forward(RowExchange::Gathering& input,       // [rows, in]
               const Tensor& output) const;         // [rows, out of this rank]
  void forward_gelu(RowExchange::Gathering& input,  // output = gelu_tanh(y)
                    const Tensor& gelu_input,       // y, as output
                    const Tensor& output) const;
  void backward_input(const Tensor& output_gradient,        // [rows, out of this rank]
                      const Tensor& all_rows,               // [rows, in], a buffer for tp > 1
                      const Tensor& input_gradient) const;  // [own_rows, in]
  void backward_weight(const Tensor& output_gradient, const Tensor& input) const;  // and bias

  // The products of these functions in a step of one layer.
  struct Products {
    std::string_view name;
    int64_t in, out;  // of this rank
    bool bias;

    void forward(ProductList& list) const;
    void forward_gelu(ProductList& list) const;
    void backward_input(ProductList& list) const;
    void backward_weight(ProductList& list) const;
  };

 private:
  StageContext& context_;
  ParameterGroup weight_, bias_;
};

// y = x W^T with the columns of W (inputs) split over tp: every rank has its own columns of x; the
// partial products are summed into each rank's own rows. The bias is added with the residual.
class RowParallelLinear {
 public:
  RowParallelLinear(StageContext& context, ParameterGroup weight)
      : context_(context), weight_(weight) {}

  void forward(const Tensor& input,                             // [rows, in of this rank]
               const Tensor& all_rows,                          // [rows, out], a buffer for tp > 1
               const Tensor& output) const;                     // [own_rows, out]
  void backward_input(RowExchange::Gathering& output_gradient,  // [rows, out]
                      const Tensor& input_gradient) const;      // [rows, in of this rank]
  // Where x is gelu_tanh(gelu_input): the gradient of gelu_input.
  void backward_gelu(RowExchange::Gathering& output_gradient,  // [rows, out]
                     const Tensor& gelu_input,                 // [rows, in of this rank]
                     const Tensor& gelu_input_gradient) const;
  void backward_weight(const Tensor& output_gradient, const Tensor& input) const;

  // The products of these functions in a step of one layer.
  struct Products {
    std::string_view name;
    int64_t in, out;  // of this rank

    void forward(ProductList& list) const;
    void backward_input(ProductList& list) const;
    void backward_gelu(ProductList& list) const;
    void backward_weight(ProductList& list) const;
  };

 private:
  StageContext& context_;
  ParameterGroup weight_;
};

}  // namespace switchyard
