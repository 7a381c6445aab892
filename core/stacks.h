#pragma once

#include <string_view>

namespace switchyard {

// What writes in a signal's handler: it allocates nothing. Errors are dropped; there is nobody left
// to tell.
void write_text(int descriptor, std::string_view text);
void write_number(int descriptor, long number);

// Makes the first write_stacks() safe there: what it needs is loaded. From any thread.
void prepare_stacks();
// The stacks of all threads of this process: name and state of each, then a line a frame,
// "program(function+0x1f) [0x55...]", the innermost first. A thread that does not answer within a
// moment is named as such.
void write_stacks(int descriptor);

}  // namespace switchyard
