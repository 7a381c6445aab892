#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

namespace switchyard {

// Adam's moments are 8 bytes a parameter that only going on with training needs; they can be taken
// out of a complete checkpoint, which keeps its id. A process may be killed at any instant: the
// checkpoint is then the whole one or the one without moments.

enum class StoredMoments : uint8_t {
  none,
  own_files,  // they can be taken away
  mixed,      // format version 1: in the files of the weights
};
// Told by the master alone. Throws Error where it cannot be read.
StoredMoments moments_of(const std::filesystem::path& checkpoint);

// Takes the moments away: a master without them replaces the old one, then their files go, unless
// `may_go` says no behind that: they are back then, as false is. One without moments stays as it
// is. Throws Error where they are mixed or cannot be removed.
bool drop_moments(const std::filesystem::path& checkpoint,
                  const std::function<bool()>& may_go = {});

// Of the files that hold moments, listed by the master or not.
int64_t moment_bytes(const std::filesystem::path& checkpoint);
// What a process that was killed left in a checkpoint without moments: their files, which go or, as
// far as they all are there and may not go, are its moments again: false.
bool remove_left_moments(const std::filesystem::path& checkpoint,
                         const std::function<bool()>& may_go = {});

}  // namespace switchyard
