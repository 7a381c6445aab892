#pragma once

#include <cstdint>
#include <vector>

#include "core/json.h"
#include "launch/path/specification.h"

namespace switchyard {

// The fork points of a path.json. Back again: throws Error, or nlohmann's exception, for what is no
// lineage; older files do not say tokens, which are then samples of sequence_length.
Json lineage_json(const std::vector<LineageEntry>& lineage);
std::vector<LineageEntry> lineage_from(const Json& j, int64_t sequence_length);

}  // namespace switchyard
