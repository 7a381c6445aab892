#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "launch/path/options.h"
#include "optim/averages.h"

namespace switchyard {

// "[NAME=]KIND[:key=value,...]": ema:beta=B,every=N, lawa:k=K,every=N, swa:from=STEP,every=N or
// running[:every=N]; the name is the kind where none is given. Throws Error saying what is allowed.
AverageSpec parse_average(const std::string& text);
std::string show(const AverageSpec& spec);  // which parses to the same

// Those of --average; throws Error where two have one name.
std::vector<AverageSpec> averages_given(const Settings& given);

// What a start behind `step` goes on with: those found in its checkpoint but for those of
// --drop-average, then the new ones of --average, which begin behind `step`. Throws Error for one
// to drop that is not there and for other parameters under a name that is.
std::vector<AverageRecord> settle_averages(std::vector<AverageRecord> found, const Settings& given,
                                           int64_t step);

}  // namespace switchyard
