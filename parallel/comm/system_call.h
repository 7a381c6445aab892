#pragma once

#include <string>

namespace switchyard {

// What the first thread of this process has the system do just now, where that is a matter of
// files: "write to /runs/main/x", "rename of /runs/main/y". Empty: it is in no such call, or its
// system does not say.
std::string file_call_of_first_thread();

}  // namespace switchyard
