#pragma once

#include <string>

namespace switchyard {

// What a thread of this process, the first before others (one that saves), has the system do just
// now, where that is a matter of files: "write to /runs/main/x", "rename of /runs/main/y". Empty:
// none is in such a call, or its system does not say.
std::string file_call_of_process();

}  // namespace switchyard
