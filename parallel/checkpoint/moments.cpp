#include "parallel/checkpoint/moments.h"

#include <hdf5.h>

#include <system_error>
#include <utility>
#include <vector>

#include "core/error.h"
#include "parallel/checkpoint/files.h"
#include "parallel/checkpoint/hdf5_handles.h"
#include "parallel/checkpoint/leaving.h"
#include "parallel/checkpoint/master.h"
#include "parallel/checkpoint/state_groups.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

bool has_link(const hdf5::Id& file, const std::string& name) {
  const htri_t found = H5Lexists(file, name.c_str(), H5P_DEFAULT);
  return hdf5::require(found, "{} cannot be looked up", name) > 0;
}

bool has_both_moments(const hdf5::Id& file) {
  if (!has_link(file, "/optimizer")) return false;  // of a longer name HDF5 wants all above it
  return has_link(file, tensor_name(groups::exp_avg)) &&
         has_link(file, tensor_name(groups::exp_avg_sq));
}

std::vector<fs::path> moment_files(const fs::path& checkpoint) {
  const std::string ending = fmt::format(".{}.h5", moments_part);
  std::vector<fs::path> files;
  std::error_code problem;
  for (fs::directory_iterator it(checkpoint / shards_name, problem), end; !problem && it != end;
       it.increment(problem)) {
    if (it->path().filename().string().ends_with(ending)) files.push_back(it->path());
  }
  check(!problem || problem == std::errc::no_such_file_or_directory, "checkpoint",
        "cannot look into {}: {}", (checkpoint / shards_name).string(), problem.message());
  return files;
}

void remove_files(const fs::path& checkpoint) {
  for (const fs::path& file : moment_files(checkpoint)) {
    std::error_code problem;
    fs::remove(file, problem);
    check(!problem, "checkpoint", "cannot remove {}: {}", file.string(), problem.message());
  }
}

// Without the tensors of the moments and their shards. A shard that anything else lies in stays.
CheckpointIndex without_moments(const CheckpointIndex& all) {
  CheckpointIndex rest;
  std::vector<int> numbers;  // of each shard in `rest`; -1: it goes
  for (const StoredShard& shard : all.shards) {
    const bool goes = shard.part == moments_part;
    numbers.push_back(goes ? -1 : static_cast<int>(rest.shards.size()));
    if (!goes) rest.shards.push_back(shard);
  }
  for (IndexedTensor entry : all.tensors) {
    if (shard_part(entry.tensor.name) == moments_part) continue;
    for (StoredPiece& piece : entry.pieces) {
      piece.shard = numbers[static_cast<size_t>(piece.shard)];
      check(piece.shard >= 0, "checkpoint", "{} lies in a file of moments; it stays",
            entry.tensor.name);
    }
    rest.tensors.push_back(std::move(entry));
  }
  return rest;
}

}  // namespace

StoredMoments moments_of(const fs::path& checkpoint) {
  const fs::path master = checkpoint / master_name;
  return naming(master, [&] {
    const hdf5::Session session;
    const hdf5::Id file = hdf5::open_file(master);
    check_is_master(file);
    if (!has_both_moments(file)) return StoredMoments::none;
    return hdf5::read_int_attribute(file, "format_version") == 1 ? StoredMoments::mixed
                                                                 : StoredMoments::own_files;
  });
}

namespace {

bool end_leaving(const fs::path& checkpoint, const std::function<bool()>& may_go) {
  if (may_go && !may_go()) {
    bring_moments_back(checkpoint);
    return false;
  }
  forget_leaving_moments(checkpoint);
  remove_files(checkpoint);
  return true;
}

}  // namespace

bool drop_moments(const fs::path& checkpoint, const std::function<bool()>& may_go) {
  const StoredMoments found = moments_of(checkpoint);
  check(found != StoredMoments::mixed, "checkpoint",
        "{} has format version 1, with moments in the files of its weights; they stay",
        checkpoint.string());
  if (found == StoredMoments::own_files) {
    const auto stored = read_master(checkpoint);
    const CheckpointIndex rest = without_moments(stored.second);
    let_moments_leave(checkpoint, [&] { replace_master(checkpoint, stored.first, rest); });
    return end_leaving(checkpoint, may_go);
  }
  remove_files(checkpoint);
  return true;
}

int64_t moment_bytes(const fs::path& checkpoint) {
  int64_t bytes = 0;
  for (const fs::path& file : moment_files(checkpoint)) {
    std::error_code gone;
    const auto size = fs::file_size(file, gone);
    if (!gone) bytes += static_cast<int64_t>(size);
  }
  return bytes;
}

bool remove_left_moments(const fs::path& checkpoint, const std::function<bool()>& may_go) {
  if (moments_of(checkpoint) != StoredMoments::none) return true;
  if (are_moments_leaving(checkpoint)) return end_leaving(checkpoint, may_go);
  remove_files(checkpoint);
  return true;
}

}  // namespace switchyard
