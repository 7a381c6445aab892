#include "launch/pins.h"

#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "launch/relative_name.h"
#include "launch/run_folder.h"

namespace fs = std::filesystem;
using nlohmann::ordered_json;

namespace switchyard {

namespace {

struct Contents {
  RelativeName branch;     // from the folder of pins
  std::string checkpoint;  // empty in pins of earlier versions, which hold the name alone
};

Contents parse(std::string text) {
  const auto parsed = ordered_json::parse(text, nullptr, false);
  if (parsed.is_object()) {
    return {{parsed.value("branch", ""), parsed.value("branch_as_given", "")},
            parsed.value("checkpoint", "")};
  }
  while (text.ends_with('\n')) text.pop_back();
  return {{text, ""}, ""};
}

std::string to_text(const Contents& pin) {
  ordered_json all = {{"branch", pin.branch.real}};
  if (!pin.branch.given.empty()) all["branch_as_given"] = pin.branch.given;
  all["checkpoint"] = pin.checkpoint;
  return all.dump() + "\n";
}

fs::path pins_of(const fs::path& run) { return run / "pins"; }

// Branches of the same last name differ by a hash of the whole name from here.
fs::path file_of(const fs::path& run, int64_t step, const RelativeName& branch) {
  const std::string last = fs::path(branch.real).filename().string().substr(0, 100);
  return pins_of(run) / fmt::format("step-{:08}--{}-{:016x}.pin", step, last,
                                    XXH3_64bits(branch.real.data(), branch.real.size()));
}

std::optional<int64_t> step_of(const fs::path& file) {
  const std::string name = file.filename().string();
  int64_t step = 0;
  const bool is_pin =
      name.starts_with("step-") && file.extension() == ".pin" &&
      std::from_chars(name.data() + 5, name.data() + name.size(), step).ec == std::errc();
  return is_pin ? std::optional(step) : std::nullopt;
}

bool may_be_out_of_sight(const fs::path& place) {
  std::error_code problem;
  const bool empty = fs::is_empty(place.parent_path(), problem);
  return problem || empty;
}

// Whether a branch forked at this pin may be there; only what is known to be otherwise is not.
bool may_be_there(const fs::path& place, int64_t step, const Contents& pin) {
  std::error_code problem;
  const auto status = fs::status(place, problem);
  if (status.type() == fs::file_type::not_found) return may_be_out_of_sight(place);
  if (problem) return true;
  try {
    const RunFolder branch(place);
    if (!branch.exists()) return fs::is_directory(status);
    const auto lineage = branch.read().lineage;
    return !lineage.empty() && lineage.back().step == step &&
           (pin.checkpoint.empty() || lineage.back().checkpoint == pin.checkpoint);
  } catch (const Error&) {
    return true;
  }
}

Pin read_pin(const fs::path& file, int64_t step) {
  Contents contents;
  try {
    contents = parse(read_file(file));
  } catch (const Error&) {
    return {step, file, {}, true};
  }
  const auto all = places(contents.branch, file.parent_path());
  const auto found = std::ranges::find_if(
      all, [&](const fs::path& place) { return may_be_there(place, step, contents); });
  const bool counts = found != all.end();
  return {step, file, counts ? *found : all.front(), counts};
}

}  // namespace

std::vector<Pin> read_pins(const fs::path& run) {
  std::vector<Pin> pins;
  std::error_code problem;
  if (!fs::is_directory(pins_of(run), problem)) return pins;
  for (fs::directory_iterator it(pins_of(run), problem), end; !problem && it != end;
       it.increment(problem)) {
    const auto step = step_of(it->path());
    if (step) pins.push_back(read_pin(it->path(), *step));
  }
  check(!problem, "path", "{} cannot be looked into: {}", pins_of(run).string(), problem.message());
  return pins;
}

void write_pin(const fs::path& run, int64_t step, const std::string& checkpoint,
               const fs::path& branch) {
  const Contents pin{relative_name(branch, pins_of(run)), checkpoint};
  const fs::path file = file_of(run, step, pin.branch);
  std::error_code ignored;
  if (fs::exists(file, ignored) && read_file(file) == to_text(pin)) return;
  make_folder(pins_of(run));
  write_file_atomically(file, to_text(pin));
}

void remove_pin(const fs::path& run, int64_t step, const fs::path& branch) {
  std::error_code ignored;
  fs::remove(file_of(run, step, relative_name(branch, pins_of(run))), ignored);
}

}  // namespace switchyard
