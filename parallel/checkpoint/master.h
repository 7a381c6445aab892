#pragma once

#include <filesystem>
#include <functional>
#include <utility>

#include "parallel/checkpoint/hdf5_handles.h"
#include "parallel/checkpoint/index.h"

namespace switchyard {

// The master file checkpoint.h5: attributes, index and documents, and for every tensor and alias a
// virtual dataset that maps the shards. Writing it makes the checkpoint complete; `may_write` is
// called right before the rename that does so.
void write_master(const std::filesystem::path& folder, const CheckpointInfo& info,
                  const CheckpointIndex& index, const std::function<void()>& may_write = {});

// The two halves of it: a file under a temporary name, on disk, for which the shards need not be
// there yet; and the name that makes the checkpoint complete.
std::filesystem::path prepare_master(const std::filesystem::path& folder,
                                     const CheckpointInfo& info, const CheckpointIndex& index);
void publish_master(const std::filesystem::path& folder, const std::filesystem::path& prepared,
                    const std::function<void()>& may_write = {});

// The same in place of the master that is there, all at once: a complete checkpoint stays one.
void replace_master(const std::filesystem::path& folder, const CheckpointInfo& info,
                    const CheckpointIndex& index);

// Throws Error when the file is damaged or of another format.
std::pair<CheckpointInfo, CheckpointIndex> read_master(const std::filesystem::path& folder);

// Throws Error for another file of HDF5's, such as a shard in the master's place.
void check_is_master(const hdf5::Id& file);

// Throws Error unless the virtual datasets map exactly what the index says.
void verify_master(const std::filesystem::path& folder, const CheckpointIndex& index);

}  // namespace switchyard
