#include "launch/campaign/score_files.h"

#include "core/error.h"
#include "core/files.h"

namespace switchyard {

std::optional<Json> read_score(const Campaign& campaign, const Found& found,
                               const std::string& name) {
  if (!found.scores.contains(name)) return {};
  const auto file = score_file(campaign, name);
  Json score = parse_json_or_discard(read_file(file));
  const bool whole = score.is_object() && score.contains("loss") && score["loss"].is_number() &&
                     score.contains("tokens") && score["tokens"].is_number();
  check(whole, ExitCode::storage, "campaign",
        "{} is no answer of eval; delete it, and 'campaign run' makes it again", file.string());
  return score;
}

std::string set_of_score(const std::string& name) { return name.substr(name.rfind('/') + 1); }

}  // namespace switchyard
