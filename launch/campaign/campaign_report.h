#pragma once

#include "launch/campaign/found.h"
#include "launch/report/report.h"

namespace switchyard {

// A campaign as a report: its paths, those to come among them, and its versions with their scores.
// Throws Error where a score cannot be read.
ReportInput report_of_campaign(const Campaign& campaign, const Desired& desired,
                               const Found& found);

}  // namespace switchyard
