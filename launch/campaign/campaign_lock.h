#pragma once

#include <filesystem>

#include "launch/path/leased_lock.h"

namespace switchyard {

// FOLDER/campaign.lock and FOLDER/campaign.lease: one process at a time carries a campaign out, or
// queues it. Throws Error naming the holder that does not end within two seconds.
LeasedLock lock_campaign(const std::filesystem::path& folder);

}  // namespace switchyard
