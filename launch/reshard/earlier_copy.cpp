#include "launch/reshard/earlier_copy.h"

#include "core/error.h"
#include "core/json.h"
#include "launch/path/path_state.h"
#include "launch/path/relative_name.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

struct AskedStep {
  int64_t step = 0;
  std::string checkpoint;  // none: it is not saved any more
};

AskedStep asked_step(const RunReference& from) {
  try {
    const StepSource source = find_step(from);
    return {source.entry.step, source.info().id};
  } catch (const Error&) {
    if (!from.step) throw;
    return {*from.step, ""};
  }
}

// Nothing where no copy of the step is there.
Json origin_in(const RunFolder& there, int64_t step) {
  if (!there.exists() || !there.has(step)) return {};
  const auto documents = CheckpointReader(there.checkpoint(step).folder).info().documents;
  const auto said = documents.find(resharded_document);
  return said == documents.end() ? Json() : parse_json(said->second);
}

}  // namespace

std::string resharded_text(const StepSource& source, const fs::path& to,
                           const std::string& options) {
  const auto name = relative_name(source.holder.folder(), to);
  Json origin = {{"path", name.real},
                 {"step", source.entry.step},
                 {"checkpoint", source.info().id},
                 {"options", options}};
  if (!name.given.empty()) origin["path_as_given"] = name.given;
  return json_text(origin);
}

void check_same_copy(const RunReference& asked_from, const fs::path& to,
                     const std::string& options) {
  const RunFolder there(to);
  const std::string name = to.string();
  const auto asked = asked_step(asked_from);
  const Json origin = origin_in(there, asked.step);
  check(origin.is_object() && origin.contains("options"), "reshard",
        "'{}' exists already; a new folder is needed", name);
  const fs::path from =
      place_of({origin.value("path", ""), origin.value("path_as_given", "")}, there.folder());
  const std::string checkpoint = origin.value("checkpoint", "");
  const bool same = asked.checkpoint.empty() ? real_place(from) == real_place(asked_from.folder)
                                             : checkpoint == asked.checkpoint;
  check(same, "reshard",
        "'{}' exists already, of step {} of '{}' (checkpoint {}), not of '{}'{}: a new folder is "
        "needed",
        name, asked.step, from.string(), checkpoint, asked_from.folder.string(),
        asked.checkpoint.empty() ? "" : fmt::format(" (checkpoint {})", asked.checkpoint));
  const std::string made = origin.value("options", "");
  check(made == options, "reshard",
        "'{}' exists already, made with {}; {} was asked for: a new folder is needed", name, made,
        options);
}

}  // namespace switchyard
