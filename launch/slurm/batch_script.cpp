#include "launch/slurm/batch_script.h"

#include <algorithm>

#include "core/error.h"
#include "launch/path/options.h"

namespace switchyard {

namespace {

// A word with what stands for '%a' between its quoted parts.
std::string shell_word(const std::string& word, bool is_array) {
  constexpr std::string_view number = "%a";
  std::string text;
  size_t begin = 0;
  for (size_t at = 0; is_array && (at = word.find(number, begin)) != std::string::npos;) {
    if (at > begin) text += show({word.substr(begin, at - begin)});
    text += "\"$SLURM_ARRAY_TASK_ID\"";
    begin = at + number.size();
  }
  if (begin < word.size() || word.empty()) text += show({word.substr(begin)});
  return text;
}

// On several lines where it is long.
std::string folded(const std::vector<std::string>& words) {
  constexpr size_t columns = 100;
  std::string text, line;
  for (const std::string& word : words) {
    if (!line.empty() && line.size() + word.size() + 3 > columns) {
      text += line;
      text += " \\\n";
      line.assign(1, ' ');
    }
    if (!line.empty()) line += ' ';
    line += word;
  }
  return text + line + "\n";
}

}  // namespace

// sbatch reads double quotes and backslashes as a shell does, and no variables.
std::string directive(const std::string& name, const std::string& value) {
  check(value.find_first_of("\n\r") == std::string::npos, "slurm",
        "--{}: a line break is not allowed in it", name);
  if (value.empty()) return fmt::format("#SBATCH --{}\n", name);
  if (value.find_first_of(" \t'\"\\#") == std::string::npos)
    return fmt::format("#SBATCH --{}={}\n", name, value);
  std::string quoted;
  for (const char c : value) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return fmt::format("#SBATCH --{}=\"{}\"\n", name, quoted);
}

std::string log_pattern(const std::string& file) {
  std::string text;
  for (const char c : file) text += c == '%' ? std::string("%%") : std::string(1, c);
  return text;
}

std::string text_of(const BatchScript& script) {
  std::string text = "#!/bin/bash\n";
  for (const auto& [name, value] : script.directives) text += directive(name, value);
  for (const std::string& option : script.more) text += fmt::format("#SBATCH {}\n", option);
  text +=
      "echo \"job $SLURM_JOB_ID ($SLURM_JOB_NAME), restart ${SLURM_RESTART_COUNT:-0}, on "
      "$SLURM_JOB_NODELIST, $(date -u +%FT%TZ)\"\n";
  std::vector<std::string> words{"exec"};
  words.reserve(script.command.size() + 1);
  for (const std::string& word : script.command) words.push_back(shell_word(word, script.is_array));
  return text + folded(words);
}

}  // namespace switchyard
