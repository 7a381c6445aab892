#pragma once

#include <optional>

#include "core/json.h"
#include "launch/campaign/found.h"

namespace switchyard {

// What `eval` has said of a version on one of its held-out sets; nothing where it is not made yet.
// Throws Error where the file is no such answer.
std::optional<Json> read_score(const Campaign& campaign, const Found& found,
                               const std::string& name);
std::string set_of_score(const std::string& name);

}  // namespace switchyard
