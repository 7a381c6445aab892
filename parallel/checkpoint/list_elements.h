#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/json.h"

namespace switchyard {

// Reads the text of an object whose lists are long: each object in a list is handed over and
// forgotten, so that no more than one is in memory as JSON. What is left is the object with its
// lists empty. Throws Error for a text that is no JSON, and what `take` throws.
Json take_list_elements(std::string_view text,
                        const std::function<void(const std::string& list, const Json&)>& take);

}  // namespace switchyard
