#pragma once

#include <source_location>
#include <string>

namespace emulated {

using Where = std::source_location;

// "norm.cu:120".
std::string name_of(const Where& where);

// Prints what is wrong with the program under test, where the emulation is (kernel, block and
// thread, if any), and aborts.
[[noreturn]] void report(const std::string& what);

// The same, for what a signal handler finds.
[[noreturn]] void report_fault(const char* what);

// Prints a misuse of the runtime, whose error code the caller then returns.
void complain(const char* function, const std::string& what);

}  // namespace emulated
