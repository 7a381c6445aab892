#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launch/path/specification.h"
#include "parallel/checkpoint/checkpoint.h"

namespace switchyard {

// RUN or RUN@STEP, as commands take it; an '@' in a folder above RUN belongs to that folder's name.
struct RunReference {
  std::filesystem::path folder;
  std::optional<int64_t> step;
};
RunReference parse_run_reference(const std::string& text);  // throws Error for a bad step

// In a branch's folder: see replay_plan.h.
inline constexpr const char* replay_file = "replay.json";

// The folder of a path:
//   path.json                what the path is made of
//   metrics.jsonl            one line a step
//   checkpoints/step-N/      see parallel/checkpoint/checkpoint.h
//   saved                    is there as soon as a step is saved
//   pins/                    see launch/path/pins.h
//   lock, lease              held by the trainer, see launch/path/path_lock.h
class RunFolder {
 public:
  explicit RunFolder(std::filesystem::path folder);  // throws Error for an empty name

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path checkpoints() const { return folder_ / "checkpoints"; }
  bool exists() const;  // whether path.json is there
  bool taken() const;   // whether anything is there but a folder, empty or with what a start that
                        // was killed leaves
  // For a folder that is to be made: throws Error for a name that a reference would not mean.
  void check_name() const;
  void check_unused() const;  // throws Error where checkpoints or metrics lie without a path.json
  // Throws Error where names of what is saved would be too long, or checkpoints/ is no place for
  // it.
  void check_can_save() const;
  // Steps are saved here, which RUN/saved says from now on, and as long as any is.
  void note_saved() const;
  void forget_saved() const;
  // Throws Error where RUN/saved is there: no step was found, so their file system is elsewhere.
  void check_none_saved() const;

  PathSpecification read() const;  // throws Error when there is no path here
  std::string read_text() const;
  void write(const PathSpecification& path) const;  // replaces path.json at once

  // The complete checkpoint of `step`, or the latest; throws Error naming the nearest saved step.
  CheckpointEntry checkpoint(std::optional<int64_t> step) const;
  std::optional<CheckpointEntry> latest() const;
  bool has(int64_t step) const;  // whether that step is saved
  // The newest complete checkpoint below `step` with moments whose checksums hold; for errors.
  std::optional<int64_t> newest_good_below(int64_t step) const;

  // Called right before whatever changes a path that a PathLock made of this object, or of a copy,
  // holds: throws Error where another process has taken it over. Nothing where there is no lock.
  void check_held() const {
    if (*held_) (*held_)();
  }

 private:
  friend class PathLock;
  void set_held(std::function<void()> check) const { *held_ = std::move(check); }

  std::filesystem::path folder_;
  std::shared_ptr<std::function<void()>> held_;  // of all copies
};

// Whether Adam's moments are there, without which no training goes on from the step. Opens the
// master alone; throws Error where it cannot be read. An incomplete checkpoint has none.
bool has_moments(const CheckpointEntry& entry);

}  // namespace switchyard
