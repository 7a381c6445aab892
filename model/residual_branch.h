#pragma once

#include <string>

#include "core/ops/norm/norm.h"
#include "model/stage_context.h"

namespace switchyard {

// The end of a branch, where it joins the stream: sum = stream + dropout(x + bias), with x in the
// work buffer `branch`.
class ResidualBranch {
 public:
  // An empty bias_name: without a bias.
  ResidualBranch(StageContext& context, std::span<const Parameter> parameters,
                 const std::string& bias_name, const std::string& dropout_name);

  // To which a norm of the sum may be added.
  ops::ResidualNorm addition(const Tensor& stream, const Tensor& sum) const;

  // Lets an operator that writes the gradient of the sum, t.dsum, write this branch's gradients
  // too. Returns where that of x will be: t.dsum itself where nothing is dropped.
  Tensor add_to(ops::ResidualNormBackward& t) const;
  // Alone: the gradient of x from that of the sum.
  Tensor backward(const Tensor& sum_gradient) const;
  void report_ready() const { context_.report_ready(bias_); }

 private:
  StageContext& context_;
  ParameterGroup bias_;  // may be none
  uint32_t dropout_purpose_;
};

// Gradients at the place where a branch joins the stream.
struct JoinGradient {
  Tensor stream;  // of the sum, [own_rows, hidden]
  Tensor branch;  // of x; the same memory where nothing is dropped
};

}  // namespace switchyard
