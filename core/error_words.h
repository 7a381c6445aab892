#pragma once

#include <exception>
#include <string>

namespace switchyard {

// The text of an error; where the standard library has no memory or thread left, what may limit
// them.
std::string words_of(const std::exception& problem);

// From now on an exception that nobody catches, such as in a thread of a communicator's, is said in
// one line. What is short of memory or threads ends with ExitCode::other, all else by SIGABRT.
void say_uncaught_errors();

}  // namespace switchyard
