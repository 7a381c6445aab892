#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "launch/path/file_lock.h"

namespace switchyard {

// RUN/pins/: a file for each branch, so that retention leaves its fork point alone. A pin counts
// until its branch is known to be gone: its folder is not in a directory that holds other things,
// or another path is there, and no path of this fork point lies nearby (paths_near). A directory
// that is absent or empty may be a file system that is not mounted now, and a folder without
// path.json a fork that is being made. A file that cannot be read, or was changed, counts for the
// step of its name; one that has another pin's name, for the step of its contents.
struct Pin {
  int64_t step = 0;
  std::filesystem::path file{};
  std::filesystem::path branch{};  // where it is, or was expected
  bool counts = true;
  std::string checkpoint{};  // the fork point's id
  bool moved = false;        // found elsewhere than the file says
  std::string problem{};     // why the file cannot be read (branch and checkpoint are empty then),
                             // or has a wrong name
};
// One for each branch; a file whose branch is not in its place may stand for several that are
// found.
std::vector<Pin> read_pins(const std::filesystem::path& run);  // throws Error

bool is_pinned(const std::filesystem::path& run, int64_t step);  // by a pin that counts
// By one that counts and leads to the branch, to nothing that is there, or cannot be read.
bool is_pinned_for(const std::filesystem::path& run, int64_t step,
                   const std::filesystem::path& branch);
// Whether a fork can write pins there, as far as permissions say.
bool may_pin(const std::filesystem::path& run);

// Writes the pins of branches that were moved for their new places, where that is possible.
void follow_branches(const std::filesystem::path& run);

// Where each host keeps its flocks for itself, leaving_steps.h says why a fork keeps its promise.
// Held while a pin is written, and from the search for a step's pins until it is deleted: a fork
// that finds the step behind its pin will go on finding it. Another one may hold it still when a
// minute is over; hold_pins throws Error then.
FileLock lock_pins(const std::filesystem::path& run);
FileLock hold_pins(const std::filesystem::path& run);

// Pins `step`, whose checkpoint has this id, for a branch; nothing happens where that is so
// already. Throws Error where the folder of pins cannot be written.
void write_pin(const std::filesystem::path& run, int64_t step, const std::string& checkpoint,
               const std::filesystem::path& branch);
void remove_pin(const std::filesystem::path& run, int64_t step,
                const std::filesystem::path& branch);  // if it is there

}  // namespace switchyard
