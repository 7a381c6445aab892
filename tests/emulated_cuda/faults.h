#pragma once

namespace emulated {

// Accesses outside of emulated memory, or by the host to a device's, end the program with words.
void install_fault_handler();

// Gives the calling thread a stack for the handler, so that a fiber whose own is full is reported.
void use_fault_stack();

}  // namespace emulated
