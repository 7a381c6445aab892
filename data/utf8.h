#pragma once

#include <cstddef>
#include <string_view>

namespace switchyard {

// Bytes at the front of `text` behind which no UTF-8 character is left half: all, or all but the
// beginning of a last one. Bytes that can be part of no character are left where they are.
size_t whole_characters(std::string_view text);

}  // namespace switchyard
