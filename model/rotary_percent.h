#pragma once

#include <cstdint>

namespace switchyard {

// The least part of a head of head_dim channels of which `rotated` are turned, as GptConfig and
// transformers count them: the whole part of head_dim x percent.
double rotary_percent_of(int64_t rotated, int64_t head_dim);

}  // namespace switchyard
