#include "core/error.h"
#include "launch/report/page.h"
#include "launch/report/page_json.h"
#include "launch/report/path_head.h"
#include "launch/report/report.h"

namespace switchyard {

namespace {

std::string escaped_html(std::string_view text) {
  std::string safe;
  for (const char letter : text) {
    switch (letter) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      default:
        safe += letter;
    }
  }
  return safe;
}

// JSON inside <script>: nothing in it ends the element or opens a comment, and it is a text of
// JavaScript, too (U+2028 and U+2029 end its lines).
std::string escaped_json(const std::string& json) {
  std::string safe;
  safe.reserve(json.size());
  for (size_t i = 0; i < json.size(); ++i) {
    const std::string_view rest = std::string_view(json).substr(i);
    if (json[i] == '<') {
      safe += "\\u003c";
    } else if (rest.starts_with("\u2028") || rest.starts_with("\u2029")) {
      safe += rest.starts_with("\u2028") ? "\\u2028" : "\\u2029";
      i += 2;
    } else {
      safe += json[i];
    }
  }
  return safe;
}

}  // namespace

std::string report_html(const ReportInput& input) {
  const Json page = page_json(input);
  // The title as JSON has it: U+FFFD for bytes that are not UTF-8.
  const Json title = parse_json(json_text_replacing(Json(input.title)));
  const std::pair<std::string_view, std::string> parts[] = {
      {"@title@", escaped_html(title.get<std::string>())},
      {"@css@", std::string(page_css)},
      {"@data@", escaped_json(json_text_replacing(page))},
      {"@js@", std::string(page_js)}};
  std::string html;
  std::string_view rest = page_html;
  for (const auto& [name, text] : parts) {  // in the order in which the page has them
    const size_t at = rest.find(name);
    check(at != std::string_view::npos, "report", "the page's frame has no {}", name);
    html += rest.substr(0, at);
    html += text;
    rest.remove_prefix(at + name.size());
  }
  return html + std::string(rest);
}

std::vector<ReportProblem> report_problems(const ReportInput& input) {
  std::vector<ReportProblem> problems;
  for (const auto& path : input.paths) {
    const PathHead head = read_head(path);
    if (!head.problem.empty()) problems.push_back({path.name + ": " + head.problem, head.code});
  }
  return problems;
}

}  // namespace switchyard
