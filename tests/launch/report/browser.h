#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

namespace switchyard::test {

// Debian's chromium without a screen. It is given a home of its own, which is gone afterwards.
bool has_browser();

// Opens a page as a file, as wide as `width` of CSS's pixels, and lets it run its script. Returns
// what `expression` of JavaScript is then, where `page` is the page's window and `root` its <html>.
nlohmann::json ask_page(const std::filesystem::path& page, int width,
                        const std::string& expression);

// The bytes of its print, a PDF.
std::string printed(const std::filesystem::path& page);

}  // namespace switchyard::test
