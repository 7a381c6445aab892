#pragma once

#include "launch/campaign/campaign.h"
#include "launch/campaign/file_node.h"

namespace switchyard {

// [[version]], [held-out] and the shares of [branch]. Throws Error with file, line and key.
void read_versions(const FileNode& file, Campaign& campaign);

// A name of a version or of a held-out set, which names folders and files.
void check_plain_name(const FileNode& node);

}  // namespace switchyard
