#include "launch/campaign/campaign_lock.h"

#include <chrono>

namespace switchyard {

LeasedLock lock_campaign(const std::filesystem::path& folder) {
  const LockPlace place{.folder = folder,
                        .lock = folder / "campaign.lock",
                        .lease = folder / "campaign.lease",
                        .use = "run"};
  return LeasedLock(LockRequest(place, std::chrono::seconds(2)));
}

}  // namespace switchyard
