#pragma once

#include <string>

#include "launch/path/specification.h"

namespace switchyard {

// The document "lineage" of a path's checkpoints: where it comes from, for a reader.
std::string lineage_document(const PathSpecification& path);

}  // namespace switchyard
