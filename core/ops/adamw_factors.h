#pragma once

#include "core/ops/adamw.h"

namespace switchyard::ops {

// Private to core/ops: the options as every element is computed with, formed in double and rounded
// once. share: of what is new in a moving average, 1 - beta; the rest of 1 is the average's so far.
// An average is before + share * (now - before), or from the other end where share is above 1/2:
// one rounding of the average in either case, which over many steps has no direction.
struct AdamWFactors {
  float share1, share2, epsilon, weight_decay;

  explicit AdamWFactors(const AdamWOptions& options)
      : share1(static_cast<float>(1 - options.beta1)),
        share2(static_cast<float>(1 - options.beta2)),
        epsilon(static_cast<float>(options.epsilon)),
        weight_decay(static_cast<float>(options.weight_decay)) {}
};

}  // namespace switchyard::ops
