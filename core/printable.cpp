#include "core/printable.h"

#include <fmt/core.h>

namespace switchyard {

namespace {

std::string escaped(unsigned char byte) {
  switch (byte) {
    case '\n':
      return "\\n";
    case '\t':
      return "\\t";
    case '\r':
      return "\\r";
    default:
      return fmt::format("\\x{:02x}", byte);
  }
}

std::string printable(std::string_view text, bool keeps_lines) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const unsigned char next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0;
    const bool is_c1 = byte == 0xc2 && next >= 0x80 && next < 0xa0;  // in UTF-8
    if (is_c1) {
      out += escaped(next);
      ++i;
    } else if (keeps_lines && text.substr(i).starts_with("\n  ")) {
      out += '\n';
    } else if (byte < 0x20 || byte == 0x7f) {
      out += escaped(byte);
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

std::string printable(std::string_view text) { return printable(text, false); }

std::string printable_lines(std::string_view text) { return printable(text, true); }

}  // namespace switchyard
