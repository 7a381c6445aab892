#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/training_data.h"
#include "launch/path/specification.h"
#include "parallel/comm/control_plane.h"

namespace switchyard {

// ControlPlane::agree with `hint` behind the text of every error of this rank.
void agree_with_hint(ControlPlane& control, const std::string& hint,
                     const std::function<void()>& body);

// Sets to score the path's weights on, opened by all ranks of a job: one of each machine checks
// them whole, the others read their headers and know them by rank 0's identities. Ends, agreed on,
// with the errors of open_evaluation_data, and for a set that is another one on another machine;
// `hint` is put behind them. Collective.
std::unique_ptr<EvaluationData> open_evaluation_data_once(const PathSpecification& path,
                                                          const std::vector<std::string>& prefixes,
                                                          ControlPlane& control,
                                                          const std::string& hint = "");

}  // namespace switchyard
