#include <algorithm>
#include <optional>
#include <system_error>

#include "core/error.h"
#include "core/text.h"
#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/files.h"

namespace switchyard {

namespace fs = std::filesystem;

namespace {

// The step that a folder's name stands for; none when it is not exactly as checkpoint_folder names.
std::optional<int64_t> step_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  static constexpr std::string_view prefix = "step-";
  if (!name.starts_with(prefix)) return std::nullopt;
  const auto step = parse_number<int64_t>(std::string_view(name).substr(prefix.size()));
  if (step.value_or(-1) < 0) return std::nullopt;
  if (checkpoint_folder({}, *step).string() != name) return std::nullopt;
  return step;
}

}  // namespace

void check_named_step(const fs::path& folder, int64_t step) {
  const auto named = step_of(folder);
  check(!named || named == step, "checkpoint",
        "{} holds step {}, which was saved under another name; its folder was moved or copied",
        folder.string(), step);
}

fs::path checkpoint_folder(const fs::path& checkpoints, int64_t step) {
  check(step >= 0, "checkpoint", "step {} was given; steps are 0 or more", step);
  return checkpoints / fmt::format("step-{:08}", step);
}

std::vector<CheckpointEntry> list_checkpoints(const fs::path& checkpoints) {
  std::vector<CheckpointEntry> entries;
  std::error_code failure;
  const bool there = fs::is_directory(checkpoints, failure);
  check(!failure || failure == std::errc::no_such_file_or_directory, "checkpoint",
        "cannot look into {}: {}", checkpoints.string(), failure.message());
  if (!there) return entries;
  for (fs::directory_iterator it(checkpoints, failure), end; !failure && it != end;
       it.increment(failure)) {
    const auto step = step_of(it->path());
    std::error_code gone;  // retention may remove a folder meanwhile
    if (!step || !fs::is_directory(it->path(), gone)) continue;
    entries.push_back({*step, it->path(), fs::exists(it->path() / master_name, gone)});
  }
  check(!failure, "checkpoint", "cannot look into {}: {}", checkpoints.string(), failure.message());
  std::ranges::sort(entries, {}, &CheckpointEntry::step);
  return entries;
}

void remove_checkpoint(const fs::path& folder) {
  check(step_of(folder).has_value(), "checkpoint",
        "{} was to be removed; only folders named step-NNNNNNNN are", folder.string());
  if (fs::is_symlink(folder)) {  // what it leads to is another one's
    fs::remove(folder);
    return;
  }
  if (!fs::exists(folder)) return;
  discard_checkpoint_folder(folder);
  sync_names(folder.parent_path());
}

}  // namespace switchyard
