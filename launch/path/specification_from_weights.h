#pragma once

#include "launch/path/specification.h"

namespace switchyard {

// The first option that such a path needs and that was not given; empty: none.
std::string missing_from_weights(const Settings& given);

// fork_path() of published weights, whose run has the specification `weights`: a path of the model
// and these weights, and of the training options given, as a new one takes them; seq-length is the
// weights' where none is given. Throws Error for a training option that is missing, a model option
// that is not the weights', and data of a larger vocabulary or another tokenizer.
PathSpecification path_from_weights(const PathSpecification& weights, const LineageEntry& entry,
                                    const Settings& given);

// The same for planning, where --data-path may be missing. Never trained on.
PathSpecification path_from_weights_without_data(const PathSpecification& weights,
                                                 const LineageEntry& entry, const Settings& given);

}  // namespace switchyard
