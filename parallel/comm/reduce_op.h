#pragma once

#include <cstdint>

namespace switchyard {

enum class ReduceOp : uint8_t { sum, max };

}  // namespace switchyard
