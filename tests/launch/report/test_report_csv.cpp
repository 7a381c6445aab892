#include <gmock/gmock.h>

#include <fstream>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/text.h"
#include "launch/report/csv.h"
#include "launch/report/report.h"
#include "tests/launch/report/sample_runs.h"
#include "tests/support/temporary_folder.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

using testing::HasSubstr;

// The rows of RFC 4180, quotes taken off.
std::vector<std::vector<std::string>> rows_of(const fs::path& file) {
  std::vector<std::vector<std::string>> rows = {{""}};
  bool quoted = false;
  const std::string text = read_file(file);
  for (size_t i = 0; i < text.size(); ++i) {
    std::string& cell = rows.back().back();
    if (text[i] == '"' && quoted && text[i + 1] == '"') {
      cell += text[++i];
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (quoted || (text[i] != ',' && text[i] != '\n')) {
      cell += text[i];
    } else if (text[i] == ',') {
      rows.back().emplace_back();
    } else {
      rows.push_back({""});
    }
  }
  rows.pop_back();
  return rows;
}

class ReportCsv : public ::testing::Test {
 protected:
  fs::path root() const { return folder_.path() / "runs"; }
  fs::path tables() const { return folder_.path() / "tables"; }
  TemporaryFolder folder_;
};

TEST_F(ReportCsv, HasEveryStepToTheLastBit) {
  const std::string name = "a \"quoted\", name\nof two lines";
  write_run(root() / name, {.last = 250, .spikes = {100}, .eval_every = 50});
  std::ofstream(root() / name / "metrics.jsonl", std::ios::app) << "{\"step\":251,\"loss\":null}\n";
  write_report_csv(report_of_runs({root().string()}), tables());
  const auto rows = rows_of(tables() / "steps.csv");
  ASSERT_EQ(rows.size(), 252u);
  std::ifstream log(root() / name / "metrics.jsonl");
  std::string line;
  for (size_t i = 1; std::getline(log, line); ++i) {
    const Json step = parse_json(line);
    ASSERT_EQ(rows[i].size(), rows[0].size());
    EXPECT_EQ(rows[i][0], name);
    EXPECT_EQ(rows[i][1], std::to_string(step.at("step").get<int64_t>()));
    if (step.at("loss").is_null()) continue;
    EXPECT_EQ(parse_number<double>(rows[i][3]), step.at("loss").get<double>());
    EXPECT_EQ(rows[i][13], step.contains("spike") ? "1" : "");
  }
  EXPECT_EQ(rows[251][3], "nan");
  EXPECT_EQ(rows[251][5], "") << "a norm that is not there";
  EXPECT_EQ(rows_of(tables() / "validations.csv").size(), 1 + 2 * 5u);
  EXPECT_EQ(rows_of(tables() / "paths.csv").at(1).at(0), name);
  EXPECT_EQ(rows_of(tables() / "starts.csv").size(), 2u);
}

TEST_F(ReportCsv, HasVersionsWithAndWithoutScores) {
  const auto input = half_done_campaign(root());
  write_report_csv(input, tables());
  const auto rows = rows_of(tables() / "versions.csv");
  EXPECT_EQ(rows.size(), 1 + 3 * (3 * 2 + 1) + 3 * (2 * 2 + 2) + 3 * 4u);
  EXPECT_EQ(parse_number<double>(rows.at(1).at(11)), input.versions[0].scores[0].loss);
  write_report_csv(input, tables());  // again, over its own
}

TEST_F(ReportCsv, IsNotWrittenOverWhatIsNotItsOwn) {
  fs::create_directories(tables());
  write_file_atomically(tables() / "steps.csv", "mine,alone\n");
  EXPECT_THROW(check_report_csv(tables()), Error);
  EXPECT_THROW(check_report_csv(tables() / "steps.csv"), Error);
  EXPECT_NO_THROW(check_report_csv(folder_.path() / "not" / "there"));
  write_file_atomically(tables() / "log", "{\"step\":1}");
  EXPECT_THROW(check_report_output(tables() / "log"), Error);
  EXPECT_THROW(check_report_output(tables()), Error);
  EXPECT_THROW(check_report_output(tables() / "no" / "page.html"), Error);
  EXPECT_NO_THROW(check_report_output(tables() / "page.html"));
}

}  // namespace
}  // namespace switchyard::test
