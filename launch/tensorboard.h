#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "launch/event_file.h"
#include "launch/metrics.h"
#include "launch/path/options.h"

namespace switchyard {

// Where the event files of a path lie below --tensorboard DIR, so that one DIR shows several paths
// as runs of their own: the run's folder as seen from the folder that DIR is in, or, where it is
// not below that, its absolute name; by their real places. Nothing without a DIR.
std::optional<std::filesystem::path> event_folder(const std::filesystem::path& run,
                                                  const Settings& settings);

// Throws Error for a DIR that cannot be written into, before anything is. `given`: what the command
// line says, as a DIR may be the last start's.
void check_event_folder(const std::filesystem::path& run, const Settings& given,
                        const Settings& settings);

// A step's numbers by the names that docs/paths.md lists.
std::vector<Scalar> scalars_of(const StepMetrics& metrics);

// What RUN/metrics.jsonl says of each step, as TensorBoard reads it. Not buffered, as a step that
// is saved must be there whatever comes next.
class TensorBoardLog {
 public:
  // A new file for the steps behind `step`, which makes readers drop those of a future that is
  // given up. Throws Error where it cannot be written, as `write` does.
  TensorBoardLog(const std::filesystem::path& folder, int64_t step);
  void write(const StepMetrics& metrics);

 private:
  EventFile file_;
};

}  // namespace switchyard
