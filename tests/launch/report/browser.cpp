#include "tests/launch/report/browser.h"

#include <cstdlib>

#include "core/error.h"
#include "core/files.h"
#include "tests/support/temporary_folder.h"

namespace fs = std::filesystem;

namespace switchyard::test {

namespace {

// A window is never narrower than some 500 pixels, a frame in it is.
std::string frame_of(const fs::path& page, int width, const std::string& expression) {
  return fmt::format(R"(<!doctype html><meta charset="utf-8"><body>
<iframe id="frame" src="file://{}" style="border:0;width:{}px;height:2000px"></iframe>
<script>
const frame = document.getElementById('frame');
frame.onload = () => {{
  const page = frame.contentWindow, root = frame.contentDocument.documentElement;
  let answer;
  try {{ answer = ({}); }} catch (problem) {{ answer = String(problem); }}
  const text = JSON.stringify(answer).replace(/[<>&]/g, (c) => '\\u00' + c.charCodeAt(0).toString(16));
  document.body.insertAdjacentHTML('beforeend', '<pre>' + text + '</pre>');
}};
</script>)",
                     page.string(), width, expression);
}

void browse(const fs::path& home, const std::string& options, const fs::path& page) {
  const std::string command = fmt::format(
      "HOME={0} timeout 60 chromium --headless --no-sandbox --disable-gpu --user-data-dir={0}/data "
      "--allow-file-access-from-files --window-size=1400,2100 --virtual-time-budget=5000 {1} "
      "file://{2} > {0}/out 2> {0}/err",
      home.string(), options, page.string());
  const int code = std::system(command.c_str());
  check(code == 0, "browser", "chromium failed: {}", read_file(home / "err"));
}

}  // namespace

bool has_browser() { return std::system("command -v chromium > /dev/null") == 0; }

nlohmann::json ask_page(const fs::path& page, int width, const std::string& expression) {
  const TemporaryFolder home;
  write_file_atomically(home.path() / "frame.html", frame_of(page, width, expression));
  browse(home.path(), "--dump-dom", home.path() / "frame.html");
  const std::string dom = read_file(home.path() / "out");
  const size_t at = dom.rfind("<pre>");
  check(at != std::string::npos, "browser", "the page gave no answer: {}", dom.substr(0, 2000));
  return nlohmann::json::parse(dom.substr(at + 5, dom.find("</pre>", at) - at - 5));
}

std::string printed(const fs::path& page) {
  const TemporaryFolder home;
  const fs::path file = home.path() / "print.pdf";
  browse(home.path(), "--no-pdf-header-footer --print-to-pdf=" + file.string(), page);
  return read_file(file);
}

}  // namespace switchyard::test
