#include "launch/campaign/desired.h"

#include <algorithm>

#include "core/error.h"

namespace switchyard {

const DesiredPath* Desired::find_path(const std::string& name) const {
  const auto found = std::ranges::find(paths, name, &DesiredPath::name);
  return found == paths.end() ? nullptr : &*found;
}

const DesiredPath& Desired::path(const std::string& name) const {
  const auto* found = find_path(name);
  check(found != nullptr, ExitCode::other, "campaign", "'{}' is no path of the campaign", name);
  return *found;
}

int64_t planned_steps(const Desired& desired, const DesiredVersion& version) {
  int64_t steps = 0;
  for (const auto& part : version.parts) steps += part.until - desired.path(part.path).fork_step;
  return steps;
}

int64_t steps_from_scratch(const Campaign& campaign, size_t version) {
  int64_t steps = 0;
  for (size_t i = 0; i <= version; ++i) steps += campaign.end_of(i);
  return steps;
}

}  // namespace switchyard
