#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace switchyard {

// Which of a series' points stay, ascending, when it is cut into `buckets` parts of equally many
// points: of each part the first, the lowest, the highest and the last, so that no extreme is lost;
// where values that are not finite begin and end; and all that are `kept` (as many as values, or
// empty). All of them where that is no more than four a part.
std::vector<size_t> thinned(std::span<const double> values, size_t buckets,
                            const std::vector<bool>& kept = {});

// The mean over each `window` values, the last one shorter, NaN left out; NaN where all are.
std::vector<double> window_means(std::span<const double> values, size_t window);

}  // namespace switchyard
