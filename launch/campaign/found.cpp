#include "launch/campaign/found.h"

namespace fs = std::filesystem;

namespace switchyard {

fs::path folder_of(const Campaign& campaign, const std::string& name) {
  return campaign.folder / name;
}

fs::path score_file(const Campaign& campaign, const std::string& name) {
  return campaign.folder / "results" / (name + ".json");
}

}  // namespace switchyard
