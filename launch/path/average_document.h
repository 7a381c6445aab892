#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "launch/path/run_folder.h"
#include "optim/averages.h"

namespace switchyard {

// A lawa's member that a checkpoint does not hold as such: the master weights of `step`, in the
// checkpoint of that id; empty: in this one.
struct LeftOutMember {
  int64_t step = 0;
  std::string checkpoint;
};
// What a checkpoint's document "averages" says.
struct SavedAverages {
  std::vector<AverageRecord> records;
  std::vector<LeftOutMember> left_out;
};
std::string averages_document(const SavedAverages& averages);
// None where the checkpoint has no such document. Throws Error for one that cannot be understood.
SavedAverages averages_in(const CheckpointInfo& info);

// The members of these averages that a checkpoint of `step` in the folder may leave out, as their
// own steps are saved there or are this one.
std::vector<LeftOutMember> members_saved(const RunFolder& run,
                                         std::span<const AverageRecord> records, int64_t step);

// The other steps whose weights a checkpoint's averages need.
std::vector<int64_t> members_left_out(const CheckpointInfo& info);

}  // namespace switchyard
