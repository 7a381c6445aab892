#pragma once

#include <string>
#include <string_view>

namespace switchyard {

// Text for a terminal or a table: control characters (C0, DEL, C1) as \n, \t, \r or \xNN, as names
// of folders may hold them. All else stays.
std::string printable(std::string_view text);
// The same of several lines: '\n' stays where two blanks follow, as they do where messages are
// broken. A name's own makes no line that looks like another message.
std::string printable_lines(std::string_view text);

}  // namespace switchyard
