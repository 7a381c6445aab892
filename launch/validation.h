#pragma once

#include <optional>
#include <string>
#include <vector>

#include "data/training_data.h"
#include "launch/engine/model_runner.h"
#include "launch/metrics.h"
#include "launch/path/options.h"
#include "launch/path/specification.h"
#include "parallel/comm/control_plane.h"

namespace switchyard {

// The sets of --valid-data-path, opened as open_evaluation_data_once does; none without it, or
// where no validation is due. Ends, agreed on, also where validation is wanted but a stage of data
// that is read behind `step` has none. `hint` is put behind errors of --valid-data-path.
// Collective.
std::vector<ValidationSource> open_validation(const PathSpecification& path,
                                              const Settings& settings, const TrainingData& data,
                                              int64_t step, ControlPlane& control,
                                              const std::string& hint);

struct ValidationLosses {
  double mean = 0;  // over the tokens of all sets' samples
  std::vector<StepMetrics::SetLoss> sets;
};
// Scores a sample of --eval-iters global batches behind `step`: of the sets, or where there are
// none of the split's second part of the stage that was read last, as the next one may never be.
// Nothing where a signal to any rank breaks it off. Collective.
std::optional<ValidationLosses> validate(const PathSpecification& path, const Settings& settings,
                                         const TrainingData& data,
                                         const std::vector<ValidationSource>& sets, int64_t step,
                                         ModelRunner& model);

}  // namespace switchyard
