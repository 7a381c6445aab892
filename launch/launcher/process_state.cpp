#include "launch/launcher/process_state.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <vector>

namespace switchyard {

namespace {

namespace fs = std::filesystem;

// Empty where it cannot be read, or is gone.
std::string text_of(const fs::path& file) {
  std::ifstream stream(file);
  std::string text(std::istreambuf_iterator<char>(stream), {});
  while (text.ends_with('\n') || text.ends_with('\0')) text.pop_back();
  return text;
}

// The rest of the line that begins with `name`, such as "State:".
std::string line_of(const std::string& status, const std::string& name) {
  std::istringstream lines(status);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(name)) continue;
    const size_t begin = line.find_first_not_of(" \t", name.size());
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

std::string words_for(char state) {
  const char* does = "did something";
  switch (state) {
    case 'T':
      does = "was stopped";
      break;
    case 't':
      does = "was held by a debugger";
      break;
    case 'D':
      does = "was in disk sleep";
      break;
    case 'R':
      does = "was running";
      break;
    case 'S':
      does = "was waiting";
      break;
    case 'Z':
      does = "was ending";
      break;
    default:
      break;
  }
  return fmt::format("{} (state {})", does, state);
}

std::string describe_thread(const fs::path& thread, char state) {
  std::string text = fmt::format("thread {} {}: state {}, in {}, system call {}\n",
                                 thread.filename().string(), text_of(thread / "comm"), state,
                                 text_of(thread / "wchan"), text_of(thread / "syscall"));
  const std::string stack = text_of(thread / "stack");
  if (!stack.empty()) text += stack + "\n";
  return text;
}

}  // namespace

char state_of_process(pid_t process) {
  const std::string state = line_of(text_of(fmt::format("/proc/{}/status", process)), "State:");
  return state.empty() ? '?' : state[0];
}

ProcessState look_at_process(pid_t process) {
  constexpr size_t most_threads = 64;
  const fs::path folder = fmt::format("/proc/{}", process);
  const std::string status = text_of(folder / "status");
  ProcessState found;
  for (const char* name :
       {"Name:", "State:", "VmRSS:", "Threads:", "SigPnd:", "ShdPnd:", "SigBlk:"})
    found.text += fmt::format("{} {}\n", name, line_of(status, name));
  if (const std::string state = line_of(status, "State:"); !state.empty()) found.state = state[0];
  std::vector<fs::path> threads;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder / "task", ignored)) {
    threads.push_back(entry.path());
  }
  std::ranges::sort(threads);
  if (threads.size() > most_threads) threads.resize(most_threads);
  for (const fs::path& thread : threads) {
    const std::string state = line_of(text_of(thread / "status"), "State:");
    const char letter = state.empty() ? '?' : state[0];
    if (letter == 'D') found.state = letter;
    found.text += describe_thread(thread, letter);
  }
  found.words = words_for(found.state);
  return found;
}

}  // namespace switchyard
