#include "launch/path/verify.h"

#include <fmt/core.h>

#include "data/progress.h"
#include "launch/engine/stop_point.h"

namespace switchyard {

void verify_with_progress(const CheckpointReader& reader, int part, int parts) {
  verify_rest_with_progress(reader, {}, part, parts);
}

VerifiedFiles verified_files(const CheckpointReader& reader, const std::filesystem::path& folder) {
  VerifiedFiles all{.tensors = static_cast<int64_t>(reader.tensors().size())};
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".h5") continue;
    ++all.files;
    all.bytes += static_cast<int64_t>(entry.file_size());
  }
  return all;
}

void verify_rest_with_progress(const CheckpointReader& reader, std::span<const int32_t> checked,
                               int part, int parts) {
  Progress progress(fmt::format("checking step {}", reader.info().step), reader.bytes() / parts,
                    part == 0);
  reader.verify_rest(checked, part, parts, [&](int64_t bytes) {
    progress.add(bytes);
    stop_point();
  });
}

}  // namespace switchyard
