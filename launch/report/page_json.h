#pragma once

#include "core/json.h"
#include "launch/report/report.h"

namespace switchyard {

// What the page draws, as its script reads it (page/data.js says the names). Each path's log is
// read, thinned and let go in turn; numbers have six digits.
Json page_json(const ReportInput& input);

}  // namespace switchyard
