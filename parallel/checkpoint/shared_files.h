#pragma once

#include <string>
#include <vector>

#include "parallel/checkpoint/guest_files.h"
#include "parallel/checkpoint/index.h"
#include "parallel/checkpoint/shard.h"

// What ranks say to each other that save into the files of the first of them. Each lists its pieces
// (to_json); these functions are the answers. Lists are by rank, the file owner's is the first.
namespace switchyard {

// Gives each piece of each list, in order, a place and notes it there.
void reserve_for_all(RankShards& files, std::vector<CheckpointIndex>& lists);

// Whether the checksum of each piece of each list is known.
bool are_summed(const std::vector<CheckpointIndex>& lists);

// The places of all lists in few bytes, and where a rank finds those of its own list, which then
// has the files, too.
std::string places_to_text(const RankShards& files, const std::vector<CheckpointIndex>& lists);
void take_places(const std::string& text, size_t rank, CheckpointIndex& list);

// The checksums of all pieces, and their way to the files and lists of the owner, whose own pieces
// are written. texts[0] means nothing.
std::string checksums_to_text(const GuestFiles& files);
void note_checksums(RankShards& files, std::vector<CheckpointIndex>& lists,
                    const std::vector<std::string>& texts);

}  // namespace switchyard
