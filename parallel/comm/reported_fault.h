#pragma once

#include <string>
#include <string_view>

namespace switchyard {

// What this process has reported before of its job's end; else `text` from now on, and empty.
std::string reported_before(const std::string& text);
void forget_reported();
// Whether that was reported (and so printed), or is a part of `text`.
bool is_reported(std::string_view text);

}  // namespace switchyard
