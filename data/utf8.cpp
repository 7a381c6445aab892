#include "data/utf8.h"

#include <algorithm>
#include <cstdint>

namespace switchyard {

namespace {

// Bytes of the character that begins with this one; 1 where none does.
size_t character_bytes(uint8_t first) {
  if (first >= 0xc2 && first <= 0xdf) return 2;
  if (first >= 0xe0 && first <= 0xef) return 3;
  if (first >= 0xf0 && first <= 0xf4) return 4;
  return 1;
}

}  // namespace

size_t whole_characters(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<uint8_t>(text[text.size() - back]);
    const bool continues = (byte & 0xc0) == 0x80;
    if (!continues) return character_bytes(byte) > back ? text.size() - back : text.size();
  }
  return text.size();
}

}  // namespace switchyard
