#include "model/residual_branch.h"

namespace switchyard {

ResidualBranch::ResidualBranch(StageContext& context, std::span<const Parameter> parameters,
                               const std::string& bias_name, const std::string& dropout_name)
    : context_(context), dropout_purpose_(random_purpose(dropout_name)) {
  if (!bias_name.empty()) bias_ = ParameterGroup(parameters, {bias_name});
}

ops::ResidualNorm ResidualBranch::addition(const Tensor& stream, const Tensor& sum) const {
  ops::ResidualNorm t;
  t.residual = stream;
  t.x = context_.work.branch;
  t.bias = bias_.weight();
  t.dropout = context_.hidden_dropout(dropout_purpose_);
  t.sum = sum;
  return t;
}

Tensor ResidualBranch::add_to(ops::ResidualNormBackward& t) const {
  t.dropout = context_.hidden_dropout(dropout_purpose_);
  t.dbias = bias_.gradient();
  if (t.dropout.probability == 0) return t.dsum;
  t.dx = context_.work.branch;
  return t.dx;
}

Tensor ResidualBranch::backward(const Tensor& sum_gradient) const {
  ops::ResidualNormBackward t;
  t.dsum_above = t.dsum = sum_gradient;
  const Tensor gradient = add_to(t);
  if (t.dx || t.dbias) ops::residual_norm_backward(context_.ops, t);
  report_ready();
  return gradient;
}

}  // namespace switchyard
