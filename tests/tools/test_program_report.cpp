// `switchyard report` as a user calls it: of paths that it has trained, one of them at that time.
#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>

#include "core/files.h"
#include "launch/path/path_lock.h"
#include "launch/path/run_folder.h"
#include "tests/tools/paths.h"
#include "tests/tools/refusal.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

using testing::HasSubstr;

class ProgramReport : public RefusalFolder, public ::testing::Test {
 protected:
  std::string page() const { return at("page.html"); }
  // The data of the page that `report OPTIONS --output page.html` writes.
  nlohmann::json report(const std::string& options, int code = 0) const {
    const Outcome outcome = run(words("report " + options + " --output " + page()));
    EXPECT_EQ(outcome.exit_code, code) << outcome.err;
    const std::string html = read_file(page());
    const size_t begin = html.find("id=\"data\">") + 10;
    return nlohmann::json::parse(html.substr(begin, html.find("</script>", begin) - begin));
  }
};

TEST_F(ProgramReport, ShowsATreeWhileItsMainPathIsHeldByATrainer) {
  make_path(at("runs/main"), 6);
  run_well("fork " + at("runs/main") + "@4 " + at("runs/v1") +
           " --lr-decay-style linear --lr-decay-iters 4");
  run_well("train " + at("runs/v1") + " --train-iters 6");
  run_well("average " + at("runs/main") + " --steps 2,4,6 --output " + at("runs/mean"));
  std::ofstream(at("runs/main/metrics.jsonl"), std::ios::app) << R"({"step":7,"start":1,"los)";
  const PathLock lock{RunFolder(at("runs/main"))};
  const auto data = report(at("runs") + " --csv " + at("tables"));
  const auto& paths = data.at("paths");
  ASSERT_EQ(paths.size(), 3u);
  EXPECT_EQ(paths[0].at("name"), "main");
  EXPECT_EQ(paths[0].at("state"), "running");
  EXPECT_EQ(paths[0].at("train").at("step"), nlohmann::json({1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(paths[0].at("starts").at(0).at("last"), 6);
  const auto v1 = std::ranges::find(paths, "v1", [](const auto& p) { return p.at("name"); });
  EXPECT_EQ(v1->at("parent"), 0);
  EXPECT_EQ(v1->at("fork"), 4);
  EXPECT_EQ(v1->at("end"), 8);
  EXPECT_EQ(v1->at("planned").at("step"), nlohmann::json({6, 7, 8}));
  const auto mean = std::ranges::find(paths, "mean", [](const auto& p) { return p.at("name"); });
  EXPECT_EQ(mean->at("members"), nlohmann::json({2, 4, 6}));
  const std::string steps = read_file(at("tables/steps.csv"));
  EXPECT_EQ(std::ranges::count(steps, '\n'), 1 + 6 + 2);
}

TEST_F(ProgramReport, ShowsADamagedPathAndEndsWithItsCode) {
  make_path(at("runs/main"), 2);
  make_path(at("runs/other"), 2);
  write_file_atomically(at("runs/other/path.json"), "{\"format\":");
  const auto data = report(at("runs"), 5);
  EXPECT_EQ(data.at("paths").at(0).at("steps"), 2);
  EXPECT_EQ(data.at("paths").at(1).at("state"), "damaged");
}

TEST_F(ProgramReport, RefusesWhatItCannotShowOrWrite) {
  make_path(at("runs/main"), 2);
  const std::string main = at("runs/main"), log = at("runs/main/metrics.jsonl");
  const std::string before = read_file(log);
  expect_refused("report --output " + page(), {"[report]", "no RUN was given"});
  expect_refused("report " + main, {"[report]", "--output was not given"});
  expect_refused("report " + main + "@2 --output " + page(), {"main@2", "without a step"});
  expect_refused("report " + at("nowhere") + " --output " + page(), {"nowhere", "not there"});
  expect_refused("report " + log + " --output " + page(), {"[campaign]", "metrics.jsonl:1"});
  expect_refused("report " + main + " " + log + " --output " + page(), {"is a file, beside"});
  fs::create_directory(at("empty"));
  expect_refused("report " + at("empty") + " --output " + page(), {"no path was found", "empty"});
  expect_refused("report " + main + " --output " + at("no/page.html"),
                 {"no/page.html", "no folder"});
  expect_refused("report " + main + " --output " + at("runs"), {"is a folder"});
  expect_refused("report " + main + " --output " + log, {"not written by a report"});
  expect_refused("report " + main + " --output " + page() + " --csv " + log, {"is a file"});
  EXPECT_EQ(read_file(log), before);
  EXPECT_FALSE(fs::exists(page()));
}

}  // namespace
}  // namespace switchyard::test
