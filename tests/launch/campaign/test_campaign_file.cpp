// What a campaign's file says, and that everything which it cannot say is refused by its line.
#include <gmock/gmock.h>

#include "launch/campaign/file_node.h"
#include "tests/launch/campaign/campaign_text.h"

namespace switchyard {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

struct Bad {
  std::vector<Change> changes;
  std::string begins;  // line, key and value
  std::vector<std::string> parts = {};
};

void expect_refused(const std::vector<Bad>& all) {
  for (const auto& [changes, begins, parts] : all) {
    const auto error = error_with(changes);
    EXPECT_THAT(error, StartsWith(begins)) << changes.back().second;
    for (const auto& part : parts) EXPECT_THAT(error, HasSubstr(part)) << changes.back().second;
  }
}

// One line in place of another.
Bad bad(const std::string& from, const std::string& to, const std::string& begins,
        std::vector<std::string> parts = {}) {
  return {{{from, to}}, begins, std::move(parts)};
}

// Another line behind [train]'s, as line 8; a table of its own in front of [held-out], from
// line 10.
Bad bad_train(const std::string& line, const std::string& begins,
              std::vector<std::string> parts = {}) {
  return bad("[branch]", line + "\n[branch]", begins, std::move(parts));
}
Bad bad_table(const std::string& lines, const std::string& begins,
              std::vector<std::string> parts = {}) {
  return bad("[held-out]", lines + "\n[held-out]", begins, std::move(parts));
}

TEST(CampaignFile, SaysWhatIsWanted) {
  const auto c = campaign_with({});
  EXPECT_EQ(c.file, "/c/four.toml");
  EXPECT_EQ(c.folder, "/c/runs");
  EXPECT_THAT(c.arms, ElementsAre(Arm::path_switching));
  EXPECT_THAT(c.seeds, ElementsAre(1234));
  EXPECT_EQ(c.path.text("preset"), "gpt2-tiny");
  EXPECT_EQ(c.path.integer("lr-warmup-iters"), 3);
  EXPECT_EQ(c.path.text("lr"), "0.001");
  EXPECT_EQ(c.decay.text("lr-decay-style"), "1-sqrt");
  ASSERT_EQ(c.versions.size(), 2U);
  const auto& v = c.versions[1];
  EXPECT_EQ(v.name, "v2");
  EXPECT_EQ(v.steps, 20);
  EXPECT_EQ(v.branch_steps, 12);
  EXPECT_THAT(c.versions[0].data, ElementsAre("/c/d1"));
  EXPECT_THAT(v.data, ElementsAre("0.8", "/c/d2", "0.2", "/code"));
  ASSERT_EQ(v.held_out.size(), 2U);
  EXPECT_THAT(v.held_out[1].data, ElementsAre("/c/f", "/c/g"));
  EXPECT_THAT(v.place, HasSubstr("four.toml:16: version[2]"));
  EXPECT_EQ(c.end_of(1), 30);
  EXPECT_EQ(c.fork_of(1), 18);
  EXPECT_EQ(c.main_layout.ranks, 1);
  EXPECT_EQ(c.resources.ranks, 1);
  EXPECT_THAT(c.places.at("train.lr"), HasSubstr(":6: train.lr"));
}

TEST(CampaignFile, EveryTableIsRead) {
  const auto c = campaign_with(
      {{"arms = [\"path-switching\"]",
        "arms = [\"ptfs\", \"averaged-trunk\", \"soup\"]\nseeds = [5, 0]"},
       {"share = 0.6", "share = 0.6\nmin-lr = 1e-5\nlr-decay-style = \"linear\"\nlog-interval = 7"},
       {"[held-out]",
        "[main]\nscore = true\nsave-interval = 1\nlog-interval = 3\n"
        "average = [\"ema:beta=0.9,every=2\", \"lawa:k=3,every=2\"]\n"
        "[arm]\nptfs.lr = 2e-3\nptfs.min-lr = 0\n"
        "averaged-trunk = { every = 2, window = 4, weights-of = \"linear\" }\n"
        "[arm.soup]\nseeds = [1, 2]\nweights-of = \"0.25,0.75\"\n"
        "[layout]\ntp = 2\nmicro-batch-size = 2\n[layout.main]\nranks = 4\npp = 2\n"
        "[layout.score]\nranks = 1\ntp = 1\n"
        "[executor]\nkind = \"local\"\njobs = 2\ngpus = [\"GPU-a\", 3, 4, 5]\n"
        "launcher = \"launch\"\n[held-out]"}});
  EXPECT_THAT(c.arms, ElementsAre(Arm::ptfs, Arm::averaged_trunk, Arm::soup));
  EXPECT_THAT(c.seeds, ElementsAre(5, 0));
  EXPECT_EQ(c.decay.text("lr-decay-style"), "linear");
  EXPECT_EQ(c.decay.text("min-lr"), "1e-05");
  EXPECT_EQ(c.main_run.integer("log-interval"), 3);
  EXPECT_EQ(c.branch_run.integer("log-interval"), 7);
  EXPECT_EQ(c.main_run.list("average").size(), 2U);
  EXPECT_TRUE(c.scores_main);
  EXPECT_EQ(c.ptfs.text("lr"), "0.002");
  EXPECT_EQ(c.ptfs.text("lr-decay-style"), "cosine");
  EXPECT_EQ(c.ptfs.text("min-lr"), "0");
  EXPECT_EQ(c.cpt.text("min-lr"), "1e-05");
  EXPECT_EQ(c.wsd_s.text("lr-decay-style"), "linear");
  EXPECT_EQ(c.averaged_trunk.every, 2);
  EXPECT_EQ(c.window_of(1), 4);
  EXPECT_EQ(c.averaged_trunk.weights_of, "linear");
  EXPECT_THAT(c.soup.seeds, ElementsAre(1, 2));
  EXPECT_EQ(c.main_layout.ranks, 4);
  EXPECT_EQ(c.main_layout.options.integer("tensor-model-parallel-size"), 2);
  EXPECT_EQ(c.branch_layout.ranks, 2);
  EXPECT_EQ(c.branch_layout.options.integer("micro-batch-size"), 2);
  EXPECT_EQ(c.score_layout.ranks, 1);
  EXPECT_EQ(c.resources.jobs, 2);
  EXPECT_EQ(c.resources.ranks, 4);
  EXPECT_THAT(c.resources.gpus, ElementsAre("GPU-a", "3", "4", "5"));
}

TEST(CampaignFile, IsReadInEveryWayOfWriting) {
  std::string crlf = small_campaign;
  for (size_t at = 0; (at = crlf.find('\n', at)) != std::string::npos; at += 2)
    crlf.replace(at, 1, "\r\n");
  EXPECT_EQ(error_of(crlf), "no error");
  EXPECT_EQ(error_of("\xef\xbb\xbf" + small_campaign), "no error");
  EXPECT_THAT(error_of(changed(crlf, {{"lr = 1e-3", "lr = -1"}})), StartsWith("6: train.lr"));
  const std::string rest = "folder = '/abs'\nbranch.share = 1\ntrain = {lr = 1}\n";
  const auto c = parse_campaign(
      rest + "version = [{name = 'a', steps = 1_0, data-path = \"d\\u00fc\"}]\n", "c.toml");
  EXPECT_EQ(c.folder, "/abs");
  EXPECT_EQ(c.versions[0].branch_steps, 10);
  EXPECT_THAT(c.versions[0].data[0], testing::EndsWith("/d\xc3\xbc"));
}

TEST(CampaignFile, WhatIsNoTomlIsRefusedByItsLine) {
  expect_refused({
      bad("[train]", "[train", "3: ", {"expected ']'"}),
      bad("lr = 1e-3", "lr = ", "6: "),
      bad("lr = 1e-3", "lr = 1e-3 4", "6: "),
      bad("lr = 1e-3", "lr = 1e-3\nlr = 2e-3", "7: ", {"redefine", "lr"}),
      bad("steps = 10", "steps = 99999999999999999999", "14: ", {"64 bits"}),
      bad("\"d1\"", "\"d1", "15: "),
      bad("[branch]", "[train]", "8: ", {"train"}),
      bad("[[version]]", "[version]", "16: ", {"version"}),
      bad("\"d1\"", "\"d\xff\"", "15: "),
      bad("lr = 1e-3", "lr = 1979-05-27", "6: train.lr is a date or a time"),
      bad("lr = 1e-3", "lr = inf", "6: train.lr = inf; a finite number"),
      bad("lr = 1e-3", "lr = nan", "6: train.lr = "),
      bad("\"d1\"", "[0.5, 1e400]", "15: "),
  });
  EXPECT_THAT(error_of(""), StartsWith(" folder is missing"));
  EXPECT_THAT(error_of(std::string("\0", 1)), StartsWith("1: "));
}

TEST(CampaignFile, UnknownKeysAreAnsweredWithTheNearest) {
  expect_refused({
      bad("arms", "armz", "2: armz: this key is unknown", {"did you mean arms?"}),
      bad("[train]", "[trian]", "3: trian: ", {"did you mean train?"}),
      bad("arms", "a.b", "2: a: this key is unknown", {"allowed here: folder, arms"}),
      bad_train("hiden-size = 3", "8: train.hiden-size: ", {"did you mean hidden-size?"}),
      bad_train("config = \"a\"", "8: train.config: this key is unknown"),
      bad_train("load-step = 1", "8: train.load-step: this key is unknown"),
      bad("share", "shar", "9: branch.shar: ", {"did you mean share?"}),
      bad("share = 0.6", "share = 0.6\nlr = 1", "10: branch.lr: this key is unknown"),
      bad_table("[main]\nscor = true", "11: main.scor: ", {"did you mean score?"}),
      bad_table("[main]\ntrain-iters = 1", "11: main.train-iters: this key is unknown"),
      bad_table("[arm.foo]", "10: arm.foo: this key is unknown", {"ptfs, cpt, wsd-s"}),
      bad_table("[arm.ptfs]\nseed = 1", "11: arm.ptfs.seed: this key is unknown"),
      bad_table("[arm.cpt]\nsave-interval = 1", "11: arm.cpt.save-interval: "),
      bad_table("[arm.averaged-trunk]\nevry = 1", "11: arm.averaged-trunk.evry", {"every?"}),
      bad_table("[arm.soup]\nseedz = [1]", "11: arm.soup.seedz: ", {"did you mean seeds?"}),
      bad_table("[layout]\nrank = 2", "11: layout.rank: ", {"did you mean ranks?"}),
      bad_table("[layout.mian]", "10: layout.mian: ", {"did you mean main?"}),
      bad_table("[layout.main]\nmain = 3", "11: layout.main.main: this key is unknown"),
      bad_table("[executor]\nkinds = 1", "11: executor.kinds: ", {"did you mean kind?"}),
      bad("steps = 10", "stepz = 10", "14: version[1].stepz: ", {"did you mean steps?"}),
  });
}

TEST(CampaignFile, ValuesOfAnotherKindAreRefused) {
  expect_refused({
      bad("\"runs\"", "3", "1: folder = 3; a text between quotes"),
      bad("\"runs\"", "\"\"", "1: folder = \"\"; the name of"),
      bad("\"runs\"", "\"a\\u0000b\"", "1: folder = \"a\"; the name of"),
      bad("[train]", "main = 3\n[train]", "3: main = 3; a table"),
      bad("[train]", "layout = []\n[train]", "3: layout = []; a table"),
      bad("lr = 1e-3", "lr = true", "6: train.lr: --lr true"),
      bad("lr = 1e-3", "lr = [1, 2]", "6: train.lr: --lr 1 2; one value"),
      bad("lr = 1e-3", "lr = {a = 1}", "6: train.lr = a table"),
      bad("lr = 1e-3", "lr = []", "6: train.lr = []"),
      bad_train("bf16 = \"yes\"", "8: train.bf16 = \"yes\"; true or false"),
      bad("0.6", "\"a\"", "9: branch.share = \"a\"; a number"),
      bad("0.6", "[0.5, \"a\"]", "9: branch.share[2] = \"a\"; a number"),
      bad("0.6", "[[0.5]]", "9: branch.share[1] = [0.5]; a number"),
      bad("0.6", "[]", "9: branch.share = []"),
      bad("web = \"web\"", "web = 3", "11: held-out.web = 3; a text"),
      bad("web = \"web\"", "web = [\"a\", 3]", "11: held-out.web[2] = 3; a text"),
      bad("web = \"web\"", "web = []", "11: held-out.web = []"),
      bad("web = \"web\"", "web = \"\"", "11: held-out.web = \"\""),
      bad("\"v1\"", "1", "13: version[1].name = 1; a text"),
      bad("10", "\"10\"", "14: version[1].steps = \"10\"; a whole number"),
      bad("10", "10.0", "14: version[1].steps = 10; a whole number"),
      bad("10", "1e3", "14: version[1].steps = 1000; a whole number"),
      bad("\"d1\"", "5", "15: version[1].data-path = 5; a text"),
      bad("\"d1\"", "\"\"", "15: version[1].data-path = \"\""),
      bad("\"d1\"", "[0.5, 2]", "15: version[1].data-path[2] = 2; a text"),
      bad("\"d1\"", "{a = 1}", "15: version[1].data-path = a table"),
      bad_table("[main]\nscore = 1", "11: main.score = 1; true or false"),
      bad_table("[arm]\nptfs = 3", "11: arm.ptfs = 3; a table"),
      bad_table("[executor]\njobs = 1.5", "11: executor.jobs = 1.5; a whole number"),
      bad("held-out.feb = [\"f\", \"g\"]", "held-out = 3", "20: version[2].held-out = 3; a table"),
  });
  EXPECT_THAT(error_of("folder = 'a'\nversion = 'x'\n"), StartsWith("2: version: a table for"));
  EXPECT_THAT(error_of("folder = 'a'\nversion = []\n"), StartsWith("2: version: a table for"));
  EXPECT_THAT(error_of("folder = 'a'\nbranch.share = 1\nversion = [1]\n"),
              StartsWith("3: version[1] = 1; a table"));
}

TEST(CampaignFile, OptionsAreThoseOfTrainInTheirPlaces) {
  expect_refused({
      bad("1e-3", "\"abc\"", "6: train.lr: --lr abc; a finite number"),
      bad("1e-3", "-1", "6: train.lr: --lr -1; at least 0"),
      bad("4\n", "4.5\n", "5: train.global-batch-size: --global-batch-size 4.5; a whole number"),
      bad_train("num-layers = 0", "8: train.num-layers: --num-layers 0; 1 to"),
      bad_train("save-interval = -1", "8: train.save-interval: --save-interval -1; at least 0"),
      bad_train("average = \"ema:beta=2\"", "8: train.average: --average ema:beta=2"),
      bad_train("average = [\"swa:from=1,every=2\", \"swa:from=2,every=2\"]", "8: train.average: "),
      bad_train("valid-data-path = [\"a\", \"b\"]", "8: train.valid-data-path: ", {"weight"}),
      bad_train("data-path = \"a\"", "8: train.data-path = \"a\"; ", {"[[version]]"}),
      bad_train("train-iters = 5", "8: train.train-iters = 5; ", {"[[version]]"}),
      bad_train("lr-decay-style = \"cosine\"", "8: train.lr-decay-style = \"cosine\"",
                {"[branch]"}),
      bad_train("lr-decay-iters = 5", "8: train.lr-decay-iters = 5", {"steps and share"}),
      bad_train("min-lr = 0", "8: train.min-lr = 0; ", {"[branch]"}),
      bad_train("tp = 2", "8: train.tp = 2; ", {"[layout]"}),
      bad_train("tensor-model-parallel-size = 2", "8: train.tensor-model-", {"[layout]"}),
      bad_table("[arm.ptfs]\nlr = -1", "11: arm.ptfs.lr: --lr -1"),
      bad("0.6", "0.6\nlr-decay-style = \"constant\"", "10: branch.lr-decay-style: \"constant\""),
      bad_table("[arm.cpt]\nlr-decay-style = \"constant\"", "11: arm.cpt.lr-decay-style: "),
      bad("0.6", "0.6\nmin-lr = -3", "10: branch.min-lr: --min-lr -3; at least 0"),
      bad("0.6", "0.6\nmin-lr = 1e-3", "10: branch.min-lr = 0.001, but lr is 0.001; less"),
      bad_table("[layout]\ntp = 2\ntensor-model-parallel-size = 2", "12: layout.", {"twice"}),
  });
}

}  // namespace
}  // namespace switchyard
