#pragma once

#include <string>

#include "launch/campaign/found.h"
#include "launch/path/run_folder.h"

namespace switchyard {

// Whether a stage of data of the path begins behind that step.
bool has_stage(const PathSpecification& path, int64_t at_step);

// That what lies in a folder is what the file asks for: begins at the same step, was made with the
// same options, goes over to the same data at the same steps. Throws Error with file, line, key and
// both values.
void check_agreement(const Campaign& campaign, const DesiredPath& wanted,
                     const PathSpecification& path, const std::filesystem::path& folder,
                     const FoundPath& found);
void check_agreement(const Campaign& campaign, const DesiredAverage& wanted, const RunFolder& run);

// That a token set is there; `place` begins the Error.
void check_token_set(const std::string& place, const std::string& prefix);

// That everything which is still to be made can be: data are there, and new paths could be made of
// their options. Throws Error likewise, before anything runs.
void check_possible(const Campaign& campaign, const Desired& desired, const Found& found);

}  // namespace switchyard
