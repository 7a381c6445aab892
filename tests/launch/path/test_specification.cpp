#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/launch/path/specification_test.h"

namespace switchyard {
namespace {

using test::SpecificationTest;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST_F(SpecificationTest, SurvivesItsJson) {
  const auto path = new_path(small({"--hidden-dropout", "0.1", "--weight-decay", "0.1"}));
  const auto text = path.to_json();
  const auto again = PathSpecification::from_json(text, "test");
  EXPECT_EQ(again.to_json(), text);
  EXPECT_EQ(again.settings, path.settings);
  EXPECT_EQ(again.model, path.model);
  EXPECT_EQ(again.schedule, path.schedule);
  EXPECT_EQ(path.model.vocabulary, 257);
  EXPECT_EQ(path.tokenizer, "byte");
  EXPECT_EQ(path.model.max_positions, 16);
  EXPECT_EQ(path.settings.integer("ffn-hidden-size"), 128);
}

TEST_F(SpecificationTest, ANewPathNeedsDataAndShape) {
  EXPECT_THAT(error_of([&] { new_path(given({"--lr", "1"})); }), HasSubstr("--data-path"));
  EXPECT_THAT(error_of([&] { new_path(given({"--data-path", old_})); }), HasSubstr("--preset"));
  EXPECT_THAT(error_of([&] {
                new_path(small({"--vocab-size", "100"}));
              }),
              AllOf(HasSubstr("100"), HasSubstr("257")));
  EXPECT_EQ(new_path(small({"--vocab-size", "300"})).model.vocabulary, 300);
  EXPECT_THAT(error_of([&] { new_path(small({"--rotary-percent", "0.5"})); }), HasSubstr("rope"));
}

TEST_F(SpecificationTest, ADecayNeedsItsLength) {
  EXPECT_THAT(error_of([&] {
                new_path(small({"--lr-decay-style", "cosine"}));
              }),
              HasSubstr("--lr-decay-iters"));
  EXPECT_THAT(error_of([&] { new_path(small({"--lr-decay-iters", "5"})); }), HasSubstr("constant"));
  const auto path = new_path(small({"--lr-decay-style", "linear", "--lr-decay-iters", "20"}));
  EXPECT_EQ(path.decay_end(), 20);
}

// So an untrained path that an older version wrote is not made anew.
TEST_F(SpecificationTest, WhatAnOlderVersionDidNotWriteIsNoDifference) {
  const auto now = new_path(small());
  auto old = now;
  for (const char* name : {"clip-grad", "parallel-residual"}) old.settings.erase(name);
  EXPECT_EQ(difference(old, now), "");
  EXPECT_THAT(difference(old, new_path(small({"--clip-grad", "2"}))), HasSubstr("--clip-grad 1"));
  EXPECT_EQ(missing_for_new_path(small()), "");
  EXPECT_EQ(missing_for_new_path(given({"--preset", "gpt2-tiny", "--lr", "1"})),
            "global-batch-size");
}

TEST_F(SpecificationTest, ContradictionsNameBothValues) {
  auto path = new_path(small());
  EXPECT_NO_THROW(check_against(path, small()));
  EXPECT_NO_THROW(check_against(path, given({"--lr", "0.001"})));
  EXPECT_THAT(error_of([&] {
                check_against(path, given({"--lr", "0.002"}));
              }),
              AllOf(HasSubstr("0.002"), HasSubstr("0.001")));
  EXPECT_THAT(error_of([&] {
                check_against(path, given({"--hidden-size", "64"}));
              }),
              AllOf(HasSubstr("64"), HasSubstr("32")));
  EXPECT_THAT(error_of([&] {
                check_against(path, given({"--data-path", new_}));
              }),
              HasSubstr("another set"));
  EXPECT_THAT(error_of([&] {
                check_against(path, given({"--preset", "gpt2-tiny"}));
              }),
              HasSubstr("num-layers"));
}

TEST_F(SpecificationTest, AnotherBlendIsAContradiction) {
  auto line = small({"--seed", "7"});
  const auto blend = [&](const std::string& a, const std::string& b) {
    return given({"--data-path", a, old_, b, new_}).list("data-path");
  };
  const OptionSpec data{"data-path", OptionKind::list, OptionGroup::data, "", ""};
  line.set(data, blend("0.7", "0.3"));
  auto path = new_path(line);
  EXPECT_NO_THROW(check_against(path, line));
  line.set(data, blend("0.5", "0.5"));
  EXPECT_THAT(error_of([&] { check_against(path, line); }),
              AllOf(HasSubstr("0.7"), HasSubstr("0.5")));
  line.set(data, {old_});
  EXPECT_THAT(error_of([&] { check_against(path, line); }), HasSubstr("another set"));
}

TEST_F(SpecificationTest, DataMayMove) {
  auto path = new_path(small());
  for (const char* suffix : {".bin", ".idx", ".json"}) {
    std::filesystem::rename(old_ + suffix, old_ + "-moved" + suffix);
  }
  check_against(path, given({"--data-path", old_ + "-moved"}));
  EXPECT_EQ(path.stages.front().sources.front().prefix, old_ + "-moved");
  EXPECT_NO_THROW(open_training_data(path, 0));
}

// The old set is read up to sample 80, step 10, and archived behind it.
TEST_F(SpecificationTest, DataThatArePastNeedNotBeThere) {
  auto path = new_path(small());
  path.stages.push_back({80, parse_sources({new_})});
  path.stages = open_training_data(path, 0).stages();
  for (const char* suffix : {".bin", ".idx", ".json"}) std::filesystem::remove(old_ + suffix);
  EXPECT_NO_THROW(open_training_data(path, 10));
  EXPECT_EQ(open_training_data(path, 10).stages().front().sources.front().identity,
            path.stages.front().sources.front().identity);
  EXPECT_THAT(error_of([&] { open_training_data(path, 9); }),
              AllOf(HasSubstr(old_ + ".idx"), HasSubstr("moved"),
                    HasSubstr(path.stages.front().sources.front().identity)));
  EXPECT_NO_THROW(check_against(path, given({"--data-path", old_})));  // a script's words
  EXPECT_NO_THROW(fork_path(path, {"../main", "id", 10, 80, 1280}, {}));
  EXPECT_THROW(fork_path(path, {"../main", "id", 9, 72, 1152}, {}), Error);
}

TEST_F(SpecificationTest, AForkWithLongerSamplesNeedNotFindThemInDataThatArePast) {
  const auto short_set = make_set("short", 40);
  auto line = small({"--position-embedding-type", "rope"});
  line.set({"data-path", OptionKind::list, OptionGroup::data, "", ""}, {short_set});
  const auto longer = given({"--seq-length", "64", "--data-path", new_});
  EXPECT_EQ(fork_path(new_path(line), {"../main", "id", 5, 40, 640}, longer).stages.size(), 2u);
}

TEST_F(SpecificationTest, AForksDataHaveThePathsTokenizer) {
  const auto path = new_path(small());
  std::ofstream(new_ + ".json") << R"({"tokenizer": "other", "vocabulary_size": 257})";
  EXPECT_THAT(error_of([&] {
                fork_path(path, {"../main", "id", 10, 80, 1280}, given({"--data-path", new_}));
              }),
              AllOf(HasSubstr("'other'"), HasSubstr("'byte'")));
}

TEST_F(SpecificationTest, AForkInheritsOrChanges) {
  const auto parent = new_path(small({"--lr-warmup-iters", "4"}));
  const LineageEntry at{"../main", "id", 10, 80};
  const auto same = fork_path(parent, at, {});
  EXPECT_EQ(same.schedule, parent.schedule);
  EXPECT_EQ(same.stages.size(), 1u);
  const auto branch = fork_path(
      parent, at,
      given({"--lr-decay-style", "1-sqrt", "--lr-decay-iters", "6", "--data-path", new_}));
  EXPECT_EQ(branch.decay_end(), 16);
  EXPECT_EQ(branch.schedule.decay_from, 1e-3);
  ASSERT_EQ(branch.stages.size(), 2u);
  EXPECT_EQ(branch.stages[1].first_sample, 80);
  EXPECT_EQ(branch.samples_at(11), 88);
  EXPECT_EQ(branch.lineage.size(), 1u);
  const auto wider = fork_path(parent, at, given({"--global-batch-size", "16"}));
  EXPECT_EQ(wider.samples_at(11), 96);
}

TEST_F(SpecificationTest, TokensAreCountedAlongTheLineage) {
  const auto parent = new_path(small());
  const int64_t before = parent.tokens_at(10);
  EXPECT_EQ(before, parent.samples_at(10) * parent.sequence_length());
  const LineageEntry at{"../main", "id", 10, parent.samples_at(10), before};
  const auto branch = fork_path(parent, at, given({"--seq-length", "8", "--data-path", new_}));
  EXPECT_EQ(branch.tokens_at(12), before + 2 * branch.global_batch() * 8);
  const auto text = branch.to_json();
  EXPECT_EQ(PathSpecification::from_json(text, "test").tokens_at(12), branch.tokens_at(12));
}

TEST_F(SpecificationTest, AForksSeedHoldsFromItsFirstSample) {
  using Changes = std::vector<SeedChange>;
  const auto parent = new_path(small());
  EXPECT_EQ(parent.seeds.changes, (Changes{{0, 1234}}));
  EXPECT_EQ(parent.to_json().find("seeds"), std::string::npos);
  const LineageEntry at{"../main", "id", 10, 80};
  EXPECT_EQ(fork_path(parent, at, given({"--seed", "1234"})).seeds.changes, parent.seeds.changes);
  const auto branch = fork_path(parent, at, given({"--seed", "7"}));
  EXPECT_EQ(branch.seeds.changes, (Changes{{0, 1234}, {80, 7}}));
  EXPECT_EQ(PathSpecification::from_json(branch.to_json(), "test").seeds.changes,
            branch.seeds.changes);
  const auto mine = open_training_data(branch, 0), theirs = open_training_data(parent, 0);
  std::set<int64_t> ours, others;
  for (int64_t sample = 0; sample < 80; ++sample) {
    EXPECT_EQ(mine.place(sample).second.window, theirs.place(sample).second.window);
  }
  for (int64_t sample = 80; theirs.place(sample).second.epoch == 0; ++sample) {
    ours.insert(mine.place(sample).second.window);
    others.insert(theirs.place(sample).second.window);
  }
  EXPECT_EQ(ours, others);
  const auto start = fork_path(parent, {"../main", "", 0, 0}, given({"--seed", "7"}));
  EXPECT_EQ(start.seeds.initial(), 1234u);
  EXPECT_EQ(start.seeds.within(0, 80).changes, (Changes{{0, 7}}));
}

TEST_F(SpecificationTest, AForksDataTakeThePlaceOfWhatTheParentReadsFromThereOn) {
  auto parent = new_path(small());
  parent.stages.push_back({80, parse_sources({old_})});
  parent.stages.push_back({800, parse_sources({old_})});
  const auto branch = fork_path(parent, {"../main", "id", 10, 80}, given({"--data-path", new_}));
  ASSERT_EQ(branch.stages.size(), 2u);
  EXPECT_EQ(branch.stages[1].first_sample, 80);
  EXPECT_EQ(branch.stages[1].sources.front().prefix, std::filesystem::absolute(new_).string());
}

TEST_F(SpecificationTest, AForkKeepsItsParentsTensors) {
  const auto parent = new_path(small());
  const LineageEntry at{"../main", "id", 10, 80};
  EXPECT_THAT(error_of([&] {
                fork_path(parent, at, given({"--hidden-size", "64"}));
              }),
              HasSubstr("tensors"));
  EXPECT_THAT(error_of([&] { fork_path(parent, at, given({"--bf16"})); }), HasSubstr("fp32"));
  EXPECT_THAT(error_of([&] {
                fork_path(parent, at, given({"--seq-length", "8"}));
              }),
              HasSubstr("--data-path"));
  EXPECT_THAT(error_of([&] {
                fork_path(parent, at, given({"--lr-decay-style", "cosine"}));
              }),
              HasSubstr("--lr-decay-iters"));
  EXPECT_EQ(fork_path(parent, at, given({"--hidden-dropout", "0.1"})).model.hidden_dropout, 0.1);
}

TEST_F(SpecificationTest, Fp16HasALossScaleAndOthersHaveNone) {
  const auto path = new_path(small({"--fp16", "--loss-scale-window", "500"}));
  EXPECT_EQ(path.dtype(), DType::f16);
  EXPECT_EQ(path.settings.real("initial-loss-scale"), 0x1p32);
  EXPECT_EQ(path.settings.real("min-loss-scale"), 1);
  EXPECT_EQ(path.settings.integer("loss-scale-window"), 500);
  EXPECT_EQ(path.settings.integer("hysteresis"), 2);
  const auto again = PathSpecification::from_json(path.to_json(), "test");
  EXPECT_EQ(again.settings, path.settings);
  EXPECT_FALSE(new_path(small()).settings.has("initial-loss-scale"));
  EXPECT_EQ(new_path(small({"--bf16"})).to_json().find("hysteresis"), std::string::npos);
  EXPECT_THAT(error_of([&] { new_path(small({"--fp16", "--bf16"})); }), HasSubstr("one of them"));
  EXPECT_THAT(error_of([&] { new_path(small({"--hysteresis", "2"})); }), HasSubstr("--fp16"));
  EXPECT_THAT(error_of([&] {
                new_path(small({"--fp16", "--min-loss-scale", "0"}));
              }),
              HasSubstr("--min-loss-scale 0"));
  EXPECT_THAT(error_of([&] {
                new_path(small({"--fp16", "--loss-scale-window", "0"}));
              }),
              HasSubstr("--loss-scale-window 0"));
}

TEST_F(SpecificationTest, AForkKeepsItsParentsPrecision) {
  const auto parent = new_path(small({"--fp16"}));
  const LineageEntry at{"../main", "id", 10, 80};
  EXPECT_THAT(error_of([&] { fork_path(parent, at, given({"--bf16"})); }), HasSubstr("fp16"));
  EXPECT_EQ(fork_path(parent, at, given({"--hysteresis", "3"})).settings.integer("hysteresis"), 3);
  const auto other = new_path(small());
  EXPECT_THAT(error_of([&] {
                fork_path(other, at, given({"--hysteresis", "3"}));
              }),
              HasSubstr("fp32"));
}

TEST_F(SpecificationTest, SourcesArePathsOrPairs) {
  EXPECT_EQ(parse_sources({"A"}).size(), 1u);
  EXPECT_EQ(parse_sources({"0.7", "A", "0.3", "B"})[1].weight, 0.3);
  EXPECT_THROW(parse_sources({"A", "B"}), Error);
  EXPECT_THROW(parse_sources({"0.7", "A", "0.3"}), Error);
  EXPECT_THROW(parse_sources({"0", "A", "1", "B"}), Error);
  EXPECT_THAT(error_of([] {
                parse_sources({"A", "B"}, "valid-data-path");
              }),
              AllOf(HasSubstr("--valid-data-path A B"), Not(HasSubstr("--data-path A"))));
}

}  // namespace
}  // namespace switchyard
