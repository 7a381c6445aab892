#pragma once

#include <cstdint>

#include "launch/engine/model_runner.h"

namespace switchyard {

struct Score {
  double loss_sum = 0;
  int64_t tokens = 0;
};

// Sums over all `samples` samples, dealt to the dp ranks by microbatches, with the weights that the
// model has. Collective; an error of reading is thrown on all ranks.
Score score(ModelRunner& model, int64_t samples, const ReadSample& read);

}  // namespace switchyard
