#pragma once

#include "core/ops/norm/norm.h"
#include "model/stage_context.h"

namespace switchyard {

class NormLayer;

// A norm and where it writes: what is added to an operator that writes the stream which it reads.
struct NormOutput {
  const NormLayer* norm = nullptr;  // none: nothing is normalised
  Tensor y;                         // [own_rows, hidden]
  Tensor mean, reciprocal;          // [own_rows] f32

  inline void add_to(ops::ResidualNorm& t) const;
  // Alone, of a stream that is there already.
  inline void normalize(const ops::Context& context, const Tensor& stream) const;
};

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
    t.epsilon = static_cast<float>(context_.config.norm_epsilon);
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

void NormOutput::add_to(ops::ResidualNorm& t) const {
  if (norm == nullptr) return;
  norm->add_to(t);
  t.y = y;
  t.mean = mean;
  t.reciprocal = reciprocal;
}

void NormOutput::normalize(const ops::Context& context, const Tensor& stream) const {
  ops::ResidualNorm t;
  t.residual = stream;
  add_to(t);
  ops::residual_norm_forward(context, t);
}

}  // namespace switchyard
