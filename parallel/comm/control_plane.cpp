#include "parallel/comm/control_plane.h"

#include <algorithm>
#include <cstdio>

#include "core/error_words.h"
#include "core/printable.h"
#include "parallel/comm/reported_fault.h"

namespace switchyard {

namespace {

// A rank's failure travels as its code, in one byte, and its text; all ranks get the lowest one's,
// behind that rank's number and how many have failed.
constexpr std::string_view asked = "?";  // no exit code is written so

std::string lowest_failure(std::span<const std::string> texts) {
  const auto failed = [](const std::string& text) { return !text.empty() && text != asked; };
  const auto lowest = std::ranges::find_if(texts, failed);
  if (lowest == texts.end()) return std::string(std::ranges::count(texts, asked) > 0 ? asked : "");
  return fmt::format("{} {} {}", lowest - texts.begin(), std::ranges::count_if(texts, failed),
                     *lowest);
}

}  // namespace

ExitCode print_error(const std::exception& problem) {
  if (is_reported(problem.what())) return code_of(problem);
  std::fprintf(stderr, "switchyard: %s\n", printable_lines(words_of(problem)).c_str());
  std::fflush(nullptr);
  return code_of(problem);
}

void ControlPlane::agree(const std::function<void()>& body, std::string_view doing) {
  agree_on(body, {}, doing);
}

bool ControlPlane::agree_and_ask(const std::function<void()>& body,
                                 const std::function<bool()>& asks) {
  return agree_on(body, asks, {});
}

bool ControlPlane::agree_on(const std::function<void()>& body, const std::function<bool()>& asks,
                            std::string_view doing) {
  std::string mine;
  try {
    body();
    if (asks && asks()) mine = std::string(asked);
  } catch (const AgreedError&) {
    throw;
  } catch (const std::exception& problem) {
    if (is_reported(problem.what())) throw;  // a peer is lost, and nothing can be agreed on
    mine = static_cast<char>(code_of(problem)) + words_of(problem);
    if (size() > 1 && mine.find("(rank ") == std::string::npos)
      mine += fmt::format(" (rank {})", rank());
  }
  const std::string failure = exchange(mine, lowest_failure, "agreement on errors");
  if (failure.empty() || failure == asked) return !failure.empty();
  const size_t count = failure.find(' ') + 1, code = failure.find(' ', count) + 1;
  std::string text = failure.substr(code + 1);
  if (!doing.empty() && size() > 1)
    text += fmt::format("; {} failed on {} of {} ranks", doing,
                        failure.substr(count, code - count - 1), size());
  const AgreedError agreed(text, static_cast<ExitCode>(failure[code]));
  if (std::stoi(failure) == rank()) print_error(agreed);
  throw AgreedError(agreed);
}

std::string ControlPlane::broadcast(const std::string& text, std::string_view what) {
  const auto of_rank_0 = [](std::span<const std::string> texts) { return texts[0]; };
  return exchange(rank() == 0 ? text : std::string(), of_rank_0, what);
}

std::vector<std::string> ControlPlane::gather(const std::string& text, std::string_view what) {
  std::vector<std::string> all(rank() == 0 ? static_cast<size_t>(size()) : 0);
  const auto keep = [&](std::span<const std::string> texts) {
    all.assign(texts.begin(), texts.end());
    return std::string();
  };
  exchange(text, keep, what);
  return all;
}

void ControlPlane::barrier(std::string_view what) {
  exchange(
      {}, [](std::span<const std::string>) { return std::string(); }, what);
}

}  // namespace switchyard
