// The page in a real browser.
#include <gmock/gmock.h>

#include <cstdlib>
#include <fstream>

#include "core/error.h"
#include "core/files.h"
#include "launch/report/report.h"
#include "tests/launch/report/browser.h"
#include "tests/launch/report/sample_runs.h"
#include "tests/support/temporary_folder.h"

namespace fs = std::filesystem;

namespace switchyard::test {
namespace {

using testing::HasSubstr;

class ReportPage : public ::testing::Test {
 protected:
  // SWITCHYARD_REPORT_PAGES=FOLDER keeps the pages, to be looked at.
  fs::path write_page(const ReportInput& input, const std::string& name) const {
    const char* kept = std::getenv("SWITCHYARD_REPORT_PAGES");
    const fs::path page = (kept != nullptr ? fs::path(kept) : folder_.path()) / (name + ".html");
    write_file_atomically(page, report_html(input));
    return page;
  }
  fs::path root() const { return folder_.path() / "runs"; }
  TemporaryFolder folder_;
};

// No error, nothing wider than the window, and what `expression` says.
nlohmann::json well(const fs::path& page, int width, const std::string& expression) {
  const auto answer =
      ask_page(page, width,
               "(() => { const all = (s) => [...root.querySelectorAll(s)], texts = (s) => "
               "all(s).map((e) => e.textContent); return {error: root.dataset.error ?? '', ready: "
               "root.dataset.ready ?? '', over: root.scrollWidth - page.innerWidth, answer: " +
                   expression + "}; })()");
  EXPECT_EQ(answer.value("error", "?"), "") << answer;
  EXPECT_EQ(answer.value("ready", "?"), "yes") << answer;
  EXPECT_LE(answer.value("over", 1), 0) << "at a width of " << width;
  return answer.value("answer", nlohmann::json());
}

TEST_F(ReportPage, ShowsAPathABranchAndNamesThatAreCode) {
  write_run(root() / "main", {.last = 600, .goal = 900, .spikes = {432}, .eval_every = 50});
  const std::string name = "</script><script>document.title='bad'</script>\u2028&amp;";
  write_run(root() / "v1", {.lineage = forked_from("main", 400),
                            .first = 401,
                            .last = 450,
                            .decay_begin = 400,
                            .decay_iters = 200});
  ReportInput input = report_of_runs({root().string()});
  input.paths.at(1).name = name;
  const fs::path page = write_page(input, "branch");
  const std::string question =
      "{title: root.querySelector('title').textContent, lanes: texts('#lineage .name'), "
      "rates: all('#rates .plot .line.bold').length, planned: all('#rates .plot "
      ".line.planned').length, "
      "spikes: all('#losses .spike').length, averages: all('#losses .plot .line.average').length, "
      "markers: all('#losses .plot .line.raw circle').length, dashed: all('.lane "
      ".planned').length, "
      "starts: texts('#starts tbody th')}";
  for (const int width : {360, 1280}) {
    const auto seen = well(page, width, question);
    EXPECT_EQ(seen.at("title"), "runs");
    EXPECT_EQ(seen.at("lanes").size(), 2u);
    EXPECT_EQ(seen.at("rates"), 2);
    EXPECT_EQ(seen.at("planned"), 2) << "to --train-iters, and to the decay's end";
    EXPECT_EQ(seen.at("dashed"), 2);
    EXPECT_EQ(seen.at("spikes"), 1);
    EXPECT_EQ(seen.at("averages"), 1);
    EXPECT_GT(seen.at("markers"), 5);
    EXPECT_THAT(seen.at("starts").dump(), HasSubstr("main, 1"));
  }
  EXPECT_EQ(well(page, 1280, "texts('#lineage-section tbody th')[1]"), name);
}

TEST_F(ReportPage, IsReadByKeyboardAndTouch) {
  write_run(root() / "main", {.last = 300, .eval_every = 50});
  const fs::path page = write_page(report_of_runs({root().string()}), "keyboard");
  const auto said = well(page, 390,
                         "(() => { const plot = root.querySelector('#rates .plot'), said = []; "
                         "const press = (key) => { plot.dispatchEvent(new "
                         "page.KeyboardEvent('keydown', {key})); said.push(plot.querySelector("
                         "'.tip').innerText.replace('\\n', ' ')); }; plot.focus(); "
                         "['ArrowRight', 'ArrowRight', 'End', 'ArrowLeft'].forEach(press); "
                         "const box = plot.getBoundingClientRect(); plot.dispatchEvent(new "
                         "page.PointerEvent('pointerdown', {clientX: box.left + box.width / 2, "
                         "clientY: box.top + 20})); said.push(plot.querySelector('.tip').hidden); "
                         "said.push(page.document.activeElement === plot); return said; })()");
  EXPECT_EQ(said.at(0), "main, learning rate step 1: 3e-3");
  EXPECT_EQ(said.at(1), "main, learning rate step 2: 3e-3");
  EXPECT_EQ(said.at(2), "main, learning rate step 300: 3e-3");
  EXPECT_EQ(said.at(3), "main, learning rate step 299: 3e-3");
  EXPECT_EQ(said.at(4), false);
  EXPECT_EQ(said.at(5), true);
}

// Of 100,000 steps every spike is there, and the page stays small.
TEST_F(ReportPage, ThinsALongRunButNoSpike) {
  write_run(root() / "main",
            {.last = 100000, .spikes = {777, 50001, 50002, 99999}, .eval_every = 500});
  write_run(root() / "v1", {.lineage = forked_from("main", 80000),
                            .first = 80001,
                            .last = 100000,
                            .decay_begin = 80000,
                            .decay_iters = 20000,
                            .eval_every = 500});
  const fs::path page = write_page(report_of_runs({root().string()}), "long");
  EXPECT_LT(fs::file_size(page), 500'000u);
  const auto seen = well(page, 1280,
                         "{spikes: all('#losses .spike title').map((e) => e.textContent), about: "
                         "texts('#losses .about')[0], points: JSON.parse(page.document."
                         "getElementById('data').textContent).paths[0].train.step.length}");
  EXPECT_EQ(seen.at("spikes"), nlohmann::json({"spike at step 777", "spike at step 50001",
                                               "spike at step 50002", "spike at step 99999"}));
  EXPECT_THAT(seen.at("about").get<std::string>(), HasSubstr("Thinned"));
  EXPECT_GT(seen.at("points"), 1500);
  EXPECT_LT(seen.at("points"), 2500);
}

TEST_F(ReportPage, ShowsAndPrintsACampaignThatIsHalfDone) {
  const auto input = half_done_campaign(root());
  const fs::path page = write_page(input, "campaign");
  for (const int width : {390, 1280}) {
    const auto seen = well(page, width,
                           "{lanes: all('#lineage .lane').length, rows: texts('#versions "
                           ".scroll:nth-of-type(2) tbody tr').length, arms: texts('#arms tbody "
                           "th'), shares: texts('#costs tbody td:last-child'), tables: "
                           "all('#versions .scores').length, charts: all('#versions figure')"
                           ".length, waiting: all('.lane .hollow').length}");
    EXPECT_EQ(seen.at("lanes"), input.paths.size());
    EXPECT_EQ(seen.at("arms"), nlohmann::json({"path-switching", "ptfs", "cpt"}));
    EXPECT_EQ(seen.at("tables"), 2);
    EXPECT_EQ(seen.at("charts"), 2);
    EXPECT_EQ(seen.at("shares").size(), 12u);
    EXPECT_EQ(seen.at("shares").at(9), "58% planned");
    EXPECT_GT(seen.at("waiting"), 5);
  }
  const std::string pdf = printed(page);
  EXPECT_TRUE(pdf.starts_with("%PDF"));
  EXPECT_GT(pdf.size(), 30'000u);
}

// No step yet, one step, losses that are no numbers, a damaged path, and a very long name.
TEST_F(ReportPage, ShowsWhatIsOdd) {
  write_run(root() / "a-new", {});
  write_run(root() / "b-one", {.last = 1});
  write_run(root() / "c-lost", {.last = 40});
  std::ofstream(root() / "c-lost" / "metrics.jsonl", std::ios::app)
      << R"({"step":41,"start":1,"loss":null,"learning_rate":0.003})"
      << "\n";
  write_run(root() / "d-damaged", {.last = 5});
  write_file_atomically(root() / "d-damaged" / "path.json", "{");
  write_run(root() / std::string(150, 'e'), {.last = 5, .spikes = {5}});
  const fs::path page = write_page(report_of_runs({root().string()}), "odd");
  const auto seen =
      well(page, 360,
           "{lost: all('#losses .lost').length, problem: texts('.problem li').length, "
           "lanes: texts('#lineage .state')}");
  EXPECT_EQ(seen.at("lost"), 1);
  EXPECT_EQ(seen.at("problem"), 1);
  EXPECT_THAT(seen.at("lanes").at(0).get<std::string>(), HasSubstr("new"));
  EXPECT_THAT(seen.at("lanes").at(3).get<std::string>(), HasSubstr("! "));
}

}  // namespace
}  // namespace switchyard::test

// A test that is skipped says so by its name.
int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (!switchyard::test::has_browser()) {
    std::puts("there is no chromium here: Debian has it as a package");
    return 77;
  }
  return RUN_ALL_TESTS();
}
