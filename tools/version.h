#pragma once

#include <string>

namespace switchyard {

// What --version prints: the program's version and commit, the instruction sets that it computes
// with here, and the libraries that it was built with or has loaded; "none" for those that this
// build has not. A line for each.
std::string version_text();

}  // namespace switchyard
