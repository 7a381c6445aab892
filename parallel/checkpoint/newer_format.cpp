#include "parallel/checkpoint/newer_format.h"

#include "core/error.h"
#include "parallel/checkpoint/files.h"
#include "parallel/checkpoint/hdf5_handles.h"
#include "parallel/checkpoint/seal.h"

namespace switchyard {

std::optional<int64_t> newer_format_version(const std::filesystem::path& folder) {
  try {
    const auto path = folder / master_name;
    const ReadableFile readable(path);  // which HDF5 would wait for where it is a pipe
    const hdf5::Session session;
    const hdf5::Id file = hdf5::open_file(path);
    const int64_t version = hdf5::read_int_attribute(file, "format_version");
    if (version <= newest_format_version || has_broken_seal(path)) return std::nullopt;
    return version;
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace switchyard
