#include "tests/tools/refusal.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "tests/tools/program.h"

namespace fs = std::filesystem;

namespace switchyard::test {

namespace {

std::vector<std::string> own_lines(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with("switchyard: ")) lines.push_back(line);
  }
  return lines;
}

}  // namespace

std::string expect_refused(const std::vector<std::string>& arguments,
                           const std::vector<std::string>& parts, int ranks, int code) {
  std::string shown;
  for (const auto& argument : arguments) shown += argument + " ";
  SCOPED_TRACE(shown);
  const Outcome outcome = run(arguments, ranks);
  EXPECT_EQ(outcome.exit_code, code) << outcome.err;
  const auto lines = own_lines(outcome.err);
  EXPECT_EQ(lines.size(), 1u) << outcome.err;
  if (lines.empty()) return "";
  EXPECT_THAT(lines[0], testing::StartsWith("switchyard: ["));
  for (const auto& part : parts) EXPECT_THAT(lines[0], testing::HasSubstr(part));
  return lines[0];
}

std::string expect_refused(const std::string& line, const std::vector<std::string>& parts,
                           int ranks, int code) {
  return expect_refused(words(line), parts, ranks, code);
}

RefusalFolder::RefusalFolder() {
  make_tokens(folder_.path(), "a", 6000, 1);
  make_tokens(folder_.path(), "b", 3000, 2);
}

std::string RefusalFolder::train(const std::string& run,
                                 const std::vector<std::pair<std::string, std::string>>& changed,
                                 const std::string& more) const {
  std::vector<std::pair<std::string, std::string>> options = {
      {"num-layers", "2"},        {"hidden-size", "16"}, {"num-attention-heads", "4"},
      {"global-batch-size", "4"}, {"seq-length", "16"},  {"lr", "1e-3"},
      {"train-iters", "2"},       {"data-path", at("a")}};
  for (const auto& [name, value] : changed) {
    const auto same = [&name = name](const auto& option) { return option.first == name; };
    std::erase_if(options, same);
    if (!value.empty()) options.emplace_back(name, value);
  }
  std::string line = "train " + at(run);
  for (const auto& [name, value] : options) line += " --" + name + " " + value;
  return line + " " + more;
}

void RefusalFolder::make_path(const std::string& run, int steps) const {
  run_well(train(run, {{"train-iters", std::to_string(steps)}}, "--save-interval 2"));
}

std::vector<std::pair<std::string, std::string>> contents_of(const fs::path& folder) {
  std::vector<std::pair<std::string, std::string>> all;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const auto name = entry.path().filename();  // a lock says who had it last
    if (!entry.is_regular_file() || name == "lock" || name == "campaign.lock") continue;
    std::ifstream stream(entry.path(), std::ios::binary);
    std::ostringstream text;
    text << stream.rdbuf();
    all.emplace_back(entry.path().string(), text.str());
  }
  std::sort(all.begin(), all.end());
  return all;
}

}  // namespace switchyard::test
