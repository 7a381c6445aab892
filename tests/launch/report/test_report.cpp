#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <numeric>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "launch/report/page_json.h"
#include "launch/report/report.h"
#include "launch/report/step_log.h"
#include "launch/report/thinning.h"
#include "launch/report/version_table.h"
#include "tests/launch/report/sample_runs.h"
#include "tests/support/temporary_folder.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

using testing::Contains;
using testing::DoubleNear;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr double no_number = std::numeric_limits<double>::quiet_NaN();

TEST(Thinning, KeepsExtremesMarkedPointsAndWhereNumbersEnd) {
  std::vector<double> values(10000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<double>(i));
  values[4321] = 9;
  values[8765] = -9;
  std::fill(values.begin() + 5000, values.begin() + 5100, no_number);
  std::vector<bool> kept(values.size());
  kept[1234] = kept[1235] = true;
  const auto places = thinned(values, 50, kept);
  EXPECT_LE(places.size(), 4 * 50u + 6u);
  EXPECT_TRUE(std::ranges::is_sorted(places));
  for (const size_t i : {0u, 4321u, 8765u, 1234u, 1235u, 4999u, 5000u, 5099u, 5100u, 9999u}) {
    EXPECT_THAT(places, Contains(i));
  }
  for (size_t b = 0; b < 50; ++b) {  // of each part
    const auto begin = values.begin() + static_cast<ptrdiff_t>(200 * b);
    const double highest = std::accumulate(begin, begin + 200, -10.0,
                                           [](double a, double x) { return x > a ? x : a; });
    EXPECT_TRUE(highest == -10.0 ||
                std::ranges::any_of(places, [&](size_t i) { return values[i] == highest; }));
  }
}

TEST(Thinning, LeavesAShortSeriesWhole) {
  const std::vector<double> values = {3, 1, no_number, 2};
  EXPECT_THAT(thinned(values, 1), ElementsAre(0u, 1u, 2u, 3u));
  EXPECT_THAT(thinned({}, 10), IsEmpty());
  EXPECT_THAT(window_means(values, 2), ElementsAre(2.0, 2.0));
}

class Report : public ::testing::Test {
 protected:
  fs::path root() const { return folder_.path() / "runs"; }
  ReportInput runs() const { return report_of_runs({root().string()}); }
  TemporaryFolder folder_;
};

TEST_F(Report, CountsAStepOnceAndTellsWhatWasGivenUp) {
  fs::create_directories(root());
  std::ofstream(root() / "metrics.discarded.jsonl") << R"({"step":3,"start":1,"milliseconds":5})"
                                                    << "\n"
                                                    << R"({"step":4,"start":1,"milliseconds":7})"
                                                    << "\n"
                                                    << R"({"step":9,"sta)";
  std::ofstream(root() / "metrics.jsonl") << R"({"step":1,"start":1,"loss":3,"validation_loss":4})"
                                          << "\n"
                                          << R"({"step":2,"start":1,"loss":null})"
                                          << "\n"
                                          << R"({"step":2,"start":2,"loss":2.5,"spike":true})"
                                          << "\nno line\n"
                                          << R"({"step":3,"start":2,"lo)";
  const StepLog log = read_step_log(root());
  ASSERT_EQ(log.steps.size(), 2u);
  EXPECT_EQ(log.steps[1].loss, 2.5);
  EXPECT_TRUE(log.steps[1].spike);
  EXPECT_TRUE(std::isnan(log.steps[1].gflops));
  ASSERT_EQ(log.validations.size(), 1u);
  ASSERT_EQ(log.given_up.size(), 1u);
  EXPECT_EQ(log.given_up[0].steps, 3);  // 3 and 4, and the first 2
  EXPECT_EQ(log.given_up[0].first, 2);
  EXPECT_EQ(log.given_up[0].last, 4);
  EXPECT_EQ(log.given_up[0].milliseconds, 12);
}

TEST_F(Report, FindsTheTreeAndWhatIsStillToCome) {
  write_run(root() / "main", {.last = 60, .goal = 100});
  write_run(root() / "a-branch", {.lineage = forked_from("main", 40),
                                  .first = 41,
                                  .last = 50,
                                  .decay_begin = 40,
                                  .decay_iters = 20});
  const auto input = runs();
  ASSERT_EQ(input.paths.size(), 2u);
  EXPECT_EQ(input.title, "runs");
  EXPECT_EQ(input.paths[0].name, "main");
  EXPECT_EQ(input.paths[1].parent, "main");
  EXPECT_EQ(input.paths[1].fork_step, 40);
  const Json page = page_json(input);
  const Json& branch = page.at("paths").at(1);
  EXPECT_EQ(branch.at("parent"), 0);
  EXPECT_EQ(branch.at("end"), 60);
  EXPECT_EQ(branch.at("planned").at("step").front(), 50);
  EXPECT_EQ(branch.at("planned").at("step").back(), 60);
  EXPECT_EQ(branch.at("planned").at("rate").back(), 0);
  EXPECT_EQ(page.at("paths").at(0).at("end"), 100);
  // The same given one by one, and a path of its own.
  const auto apart = report_of_runs({(root() / "a-branch").string(), (root() / "main").string()});
  EXPECT_EQ(apart.paths[0].name, "main");
  EXPECT_EQ(apart.paths[1].parent, "main");
  EXPECT_EQ(report_of_runs({(root() / "a-branch").string()}).paths.at(0).parent, "");
}

TEST_F(Report, ShowsADamagedPathWithItsReason) {
  write_run(root() / "main", {.last = 10});
  write_run(root() / "other", {.last = 10});
  write_file_atomically(root() / "other" / "path.json", "{");
  const auto input = runs();
  const auto problems = report_problems(input);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_THAT(problems[0].text, HasSubstr("other: "));
  const Json page = page_json(input);
  EXPECT_EQ(page.at("paths").at(1).at("state"), "damaged");
  EXPECT_NE(page.at("paths").at(1).at("problem"), "");
  EXPECT_EQ(page.at("paths").at(0).at("steps"), 10);
}

TEST_F(Report, EmbedsAnythingAsData) {
  const std::string name = "</script><!--\u2028\u2029\xff&";
  write_run(root() / "main", {.last = 3});
  ReportInput input = runs();
  input.title = input.paths[0].name = name;
  const std::string html = report_html(input);
  const size_t begin = html.find("id=\"data\">") + 10, end = html.find("</script>", begin);
  const std::string embedded = html.substr(begin, end - begin);
  EXPECT_THAT(embedded, Not(HasSubstr("<")));
  EXPECT_THAT(embedded, Not(HasSubstr("\u2028")));
  const Json page = parse_json(embedded);
  EXPECT_EQ(page.at("title"), "</script><!--\u2028\u2029\ufffd&");
  EXPECT_EQ(page.at("paths").at(0).at("name"), page.at("title"));
  EXPECT_THAT(html, HasSubstr("<title>&lt;/script&gt;&lt;!--"));
}

// Nothing is fetched, and the page itself forbids it.
TEST_F(Report, NeedsNoNetwork) {
  write_run(root() / "main", {.last = 3});
  std::string html = report_html(runs());
  EXPECT_THAT(html, HasSubstr("default-src 'none'"));
  const std::string name_of_svg = "http://www.w3.org/2000/svg";  // a name, not an address
  html.erase(html.find(name_of_svg), name_of_svg.size());
  for (const char* way : {"http:", "https:", "//cdn", "@import", "url(http", " src=", "<link",
                          "fetch(", "XMLHttpRequest", "import("}) {
    EXPECT_THAT(html, Not(HasSubstr(way)));
  }
}

ReportVersion version(const std::string& name, const std::string& arm, int64_t seed, double loss) {
  ReportVersion one{.name = name, .arm = arm, .seed = seed, .state = "finished"};
  one.planned_steps = 580;
  one.counted_steps = 580;
  one.steps_from_scratch = 1000;
  if (loss > 0) one.scores.push_back({"held-out", loss, std::exp(loss), 0, 100});
  return one;
}

TEST(VersionTable, TakesDifferencesSeedBySeedAgainstPtfs) {
  std::vector<ReportVersion> all = {version("v1", "path-switching", 1, 2.05),
                                    version("v1", "path-switching", 2, 2.25),
                                    version("v1", "ptfs", 1, 2.0), version("v1", "ptfs", 2, 2.1)};
  all[1].redone_steps = 12;
  all[3].counted_steps = 400;
  all[3].state = "running";
  const VersionTable table = version_table(all);
  EXPECT_EQ(table.baseline, "ptfs");
  ASSERT_EQ(table.rows.size(), 2u);
  const ScoreRow& ours = table.rows[0].scores.at(0);
  EXPECT_THAT(ours.loss.mean, DoubleNear(2.15, 1e-12));
  EXPECT_THAT(ours.difference.mean, DoubleNear(0.1, 1e-12));
  EXPECT_THAT(ours.difference.deviation, DoubleNear(std::sqrt(0.005), 1e-12));
  EXPECT_EQ(ours.bits_per_byte.seeds, 0) << "0 says that they are not known";
  EXPECT_TRUE(std::isnan(table.rows[1].scores.at(0).difference.mean));
  EXPECT_EQ(table.rows[0].redone.most, 12);
  EXPECT_EQ(table.rows[0].share.mean, 0.58);
  EXPECT_FALSE(table.rows[0].share_is_planned);
  EXPECT_TRUE(table.rows[1].share_is_planned);
  EXPECT_EQ(table.rows[1].states,
            (std::map<std::string, int64_t>{{"finished", 1}, {"running", 1}}));
}

TEST(VersionTable, CountsAnArmByItsLastVersion) {
  std::vector<ReportVersion> all = {version("v1", "cpt", 1, 2.0), version("v2", "cpt", 1, 0)};
  all[1].planned_steps = 900;
  all[1].counted_steps = 700;
  all[1].state = "running";
  const VersionTable table = version_table(all);
  EXPECT_EQ(table.baseline, "");
  ASSERT_EQ(table.arms.size(), 1u);
  EXPECT_EQ(table.arms[0].counted.mean, 700);
  EXPECT_EQ(table.arms[0].planned.mean, 900);
  EXPECT_THAT(table.rows[1].scores, IsEmpty());
}

}  // namespace
}  // namespace switchyard::test
