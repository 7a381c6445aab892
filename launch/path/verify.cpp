#include "launch/path/verify.h"

#include <fmt/core.h>

#include "data/progress.h"
#include "launch/engine/stop_point.h"

namespace switchyard {

void verify_with_progress(const CheckpointReader& reader, int part, int parts) {
  verify_rest_with_progress(reader, {}, part, parts);
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
