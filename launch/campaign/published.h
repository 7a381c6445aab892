#pragma once

#include <optional>

#include "launch/campaign/desired.h"
#include "launch/path/specification.h"

// Paths of a campaign that begin with published weights (DesiredPath::weights).
namespace switchyard {

// As `fork` would make it. Throws Error for what is no published weights, and as path_from_weights.
PathSpecification planned_from_weights(const DesiredPath& path, bool without_data = false);
// Without data; nothing where the weights are not there any more.
std::optional<PathSpecification> planned_if_there(const DesiredPath& path);

// Whether the path begins with the weights of this name, as far as they are there: a checkpoint's
// id; the step alone where they are not.
bool is_made_of(const PathSpecification& path, const std::string& weights);

}  // namespace switchyard
