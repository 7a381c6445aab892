#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace switchyard {

// Places of the values that differ from what more than half of them are; all places where no value
// is that frequent, none where all are alike.
std::vector<size_t> odd_ones(std::span<const int64_t> values);

}  // namespace switchyard
