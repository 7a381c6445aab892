#pragma once

#include <vector>

#include "core/json.h"
#include "launch/report/report.h"

namespace switchyard {

// The version table as the page's script reads it, with the versions themselves for its chart and
// choices.
Json version_json(const std::vector<ReportVersion>& versions);

}  // namespace switchyard
