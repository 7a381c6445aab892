#pragma once

#include <functional>
#include <optional>

#include "core/error.h"

namespace switchyard {

// The Error that `body` throws, nothing where it throws none; of JSON that is none, too. A signal's
// is thrown on.
std::optional<Error> problem_of(const std::function<void()>& body);

}  // namespace switchyard
