#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "launch/engine/engine.h"
#include "launch/path/average_document.h"
#include "launch/path/run_folder.h"

namespace switchyard {

// Reads from a start's checkpoint the averages that the engine goes on with, as its `saved` says.
// Returns which stored pieces were checked, as CheckpointReader::read_and_check does; collective
// over the mesh's node.
std::vector<int32_t> load_averages(const CheckpointReader& reader, const SavedAverages& saved,
                                   const Mesh& mesh, Engine& engine);
// And, for a start from `step`, the members that lie in other checkpoints of the path. Collective;
// errors are agreed on.
void load_left_out_members(const RunFolder& run, int64_t step, const SavedAverages& saved,
                           const Mesh& mesh, Engine& engine);

// Adds the averages' tensors and document to what a checkpoint of `step` will hold; a lawa's
// members that the folder has as checkpoints are left out. Collective; errors are agreed on.
void add_averages(const RunFolder& run, int64_t step, Engine& engine, const Mesh& mesh,
                  std::vector<ShardedTensor>& state, std::map<std::string, std::string>& documents);

// The averages' tensors that every checkpoint has, members left out.
std::vector<ShardedTensor> means_to_save(Averages& averages);

}  // namespace switchyard
