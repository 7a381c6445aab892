#include "parallel/checkpoint/newer_format.h"

#include <fmt/core.h>

#include "core/error.h"
#include "parallel/checkpoint/files.h"
#include "parallel/checkpoint/hdf5_handles.h"
#include "parallel/checkpoint/seal.h"

namespace switchyard {

std::optional<std::string> describe_newer_format(const std::filesystem::path& folder) {
  try {
    const auto path = folder / master_name;
    const ReadableFile readable(path);  // which HDF5 would wait for where it is a pipe
    const hdf5::Session session;
    const hdf5::Id file = hdf5::open_file(path);
    const int64_t version = hdf5::read_int_attribute(file, "format_version");
    if (version <= newest_format_version || has_broken_seal(path)) return std::nullopt;
    return fmt::format(
        "{} is of the newer format version {}; this program reads the versions 1 to {}",
        folder.string(), version, newest_format_version);
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace switchyard
