#pragma once

#include "core/ops/norm.h"
#include "model/stage_context.h"

namespace switchyard {

// The weights of one norm, ready to be put into the fused residual operators.
class NormLayer {
 public:
  NormLayer(StageContext& context, std::span<const Parameter> parameters, const std::string& name)
      : context_(context), weight_(parameters, {name + ".weight"}) {
    const GptConfig& config = context.config;
    if (config.norm == ops::Norm::layer && config.norm_bias) {
      shift_ = ParameterGroup(parameters, {name + ".bias"});
    }
  }

  void add_to(ops::ResidualNorm& t) const {
    t.kind = context_.config.norm;
    t.epsilon = context_.config.norm_epsilon;
    t.weight = weight_.weight();
    t.shift = shift_.weight();
  }
  void add_to(ops::ResidualNormBackward& t) const {
    t.kind = context_.config.norm;
    t.weight = weight_.weight();
    t.dweight = weight_.gradient();
    t.dshift = shift_.gradient();
  }
  void report_ready() const {
    context_.report_ready(shift_);
    context_.report_ready(weight_);
  }

 private:
  StageContext& context_;
  ParameterGroup weight_, shift_;
};

}  // namespace switchyard
