#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/training_data.h"

namespace switchyard {

// --skip-samples A:B of a fork that has consumed so many samples: the stage that holds sample A
// leaves out A ... B - 1. Throws Error for what the path has read already, an empty range, or one
// that reaches into the next stage.
void skip_samples(const std::string& text, int64_t consumed, std::vector<DataStage>& stages);

}  // namespace switchyard
