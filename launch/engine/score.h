#pragma once

#include <cstdint>
#include <functional>

#include "launch/engine/model_runner.h"

namespace switchyard {

struct Score {
  double loss_sum = 0;
  int64_t tokens = 0;
  bool broken_off = false;  // as a rank asked to stop: the sums mean nothing
};

// Sums over all `samples` samples, dealt to the dp ranks by microbatches, with the weights that the
// model has. Collective; an error of reading is thrown on all ranks. What asks to stop is looked at
// every few microbatches.
Score score(ModelRunner& model, int64_t samples, const ReadSample& read,
            const std::function<bool()>& asks_to_stop = {});

}  // namespace switchyard
