#pragma once

#include <string_view>

namespace switchyard {

// The files of launch/report/page/, made part of the program by cmake/EmbedText.cmake.
extern const std::string_view page_html;
extern const std::string_view page_css;
extern const std::string_view page_js;

}  // namespace switchyard
