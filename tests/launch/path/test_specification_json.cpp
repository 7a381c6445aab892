#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tests/launch/path/specification_test.h"

// How a path is written, and read as earlier versions wrote it.
namespace switchyard {
namespace {

using test::SpecificationTest;
using testing::AllOf;
using testing::HasSubstr;

// The same path as it was written by versions up to 0.1: the model field by field, the schedule
// whole, the split twice.
nlohmann::ordered_json first_format(const PathSpecification& path) {
  auto all = nlohmann::ordered_json::parse(path.to_json());
  all["format_version"] = 1;
  all["settings"] = all["options"];
  all["model"] = nlohmann::ordered_json::parse(path.model.to_json());
  const Schedule& s = path.schedule;
  all["schedule"] = {{"maximum", s.maximum},         {"minimum", s.minimum},
                     {"warmup", s.warmup},           {"style", std::string(name_of(s.style))},
                     {"decay_begin", s.decay_begin}, {"decay_from", s.decay_from},
                     {"decay_iters", s.decay_iters}, {"warmup_begin", s.warmup_begin},
                     {"warmup_from", s.warmup_from}};
  all["split"] = path.split.to_string();
  all.erase("format");
  all.erase("options");
  return all;
}

TEST_F(SpecificationTest, TheFirstFormatReadsAsTheSamePath) {
  const LineageEntry at{"../main", "id", 10, 80};
  const auto main = new_path(small({"--lr-warmup-iters", "3", "--split", "9,1", "--swiglu"}));
  for (const auto& path :
       {main, fork_path(main, at, given({"--lr-decay-style", "cosine", "--lr-decay-iters", "5"})),
        fork_path(main, at, given({"--lr", "0.5", "--lr-warmup-iters", "4", "--seed", "5"}))}) {
    const auto old = PathSpecification::from_json(first_format(path).dump(), "test");
    EXPECT_EQ(old.to_json(), path.to_json());
    EXPECT_EQ(old.schedule, path.schedule);
    EXPECT_EQ(difference(old, path), "");
    EXPECT_EQ(PathSpecification::from_json(path.to_json(), "test").schedule, path.schedule);
  }
  auto wrong = nlohmann::ordered_json::parse(main.to_json());
  wrong["format"] = 3;
  EXPECT_THAT(error_of([&] { PathSpecification::from_json(wrong.dump(), "test"); }),
              HasSubstr("format 3; this program reads 1 to 2"));
}

// What a damaged file lacks, or has too much of, is not made up or left out in silence.
TEST_F(SpecificationTest, NothingIsMadeUp) {
  const auto path = new_path(small());
  const auto refused = [](nlohmann::ordered_json wrong, const std::string& key,
                          const std::string& words) {
    EXPECT_THAT(error_of([&] { PathSpecification::from_json(wrong.dump(), "test"); }),
                testing::AllOf(HasSubstr("test cannot be read"), HasSubstr(key), HasSubstr(words)));
  };
  const auto now = nlohmann::ordered_json::parse(path.to_json());
  const auto first = first_format(path);
  for (const char* name : {"maximum", "style", "decay_begin", "decay_from", "decay_iters"}) {
    auto wrong = first;
    wrong["schedule"].erase(name);
    refused(wrong, name, "schedule has no");
  }
  for (const char* name : {"num-layers", "lr", "seed", "clip-grad", "seq-length"}) {
    auto wrong = now;
    wrong["options"].erase(name);
    refused(wrong, name, "which every path has");
  }
  auto wrong = now;
  wrong["options"]["of-tomorrow"] = 1;
  refused(wrong, "of-tomorrow", "a later version");
  wrong = now;
  wrong["schedule"]["maximun"] = 1;
  refused(wrong, "maximun", "schedule is");
  for (const auto& value : {nlohmann::ordered_json(1.5), nlohmann::ordered_json(1e30),
                            nlohmann::ordered_json(uint64_t{1} << 63)}) {
    wrong = now;
    wrong["options"]["global-batch-size"] = value;
    refused(wrong, "global-batch-size", "a whole number is needed");
  }
  wrong = now;
  wrong["options"]["lr"] = "fast";
  refused(wrong, "'lr'", "of another kind");
  wrong = now;
  wrong["kind"] = "x";
  refused(wrong, "kind", "path, average and imported");
  wrong = now;
  wrong["data_stages"][0]["sources"][0]["weight"] = -1;
  refused(wrong, "weight -1", "above 0");
}

// A schedule that the options do not say, as an older version may have left one, stays.
TEST_F(SpecificationTest, AScheduleIsWrittenWhereTheOptionsDoNotSayIt) {
  auto path = new_path(small());
  EXPECT_THAT(path.to_json(), HasSubstr("\"schedule\": {}"));
  path.schedule.maximum = 0.25;
  path.schedule.style = DecayStyle::linear;
  path.schedule.decay_iters = 7;
  EXPECT_EQ(PathSpecification::from_json(path.to_json(), "test").schedule, path.schedule);
}

TEST_F(SpecificationTest, EpsilonIsWrittenAsGiven) {
  const std::string given_text = "1.23456789e-06", in_fp32 = "1.2345679e-06";
  const auto options = small({"--norm-epsilon", given_text});
  const auto path = new_path(options);
  EXPECT_EQ(path.model.norm_epsilon, 1.23456789e-06);
  EXPECT_THAT(path.to_json(), HasSubstr("\"norm-epsilon\": 1.23456789e-06"));
  EXPECT_THAT(new_path(small()).to_json(), HasSubstr("\"norm-epsilon\": 1e-05"));
  // As paths were written when it passed through a float: once in full, once in short.
  auto text = first_format(path);
  text["model"]["norm_epsilon"] = 1.2345678876220738e-06;
  EXPECT_EQ(PathSpecification::from_json(text.dump(), "test").model.norm_epsilon, 1.23456789e-06);
  text["settings"]["norm-epsilon"] = 1.2345679e-06;
  auto old = PathSpecification::from_json(text.dump(), "test");
  EXPECT_EQ(old.model.norm_epsilon, 1.2345679e-06);
  EXPECT_NO_THROW(check_against(old, options));
  EXPECT_NO_THROW(fork_path(old, {"../main", "id", 10, 80}, given({"--norm-epsilon", given_text})));
  EXPECT_THAT(error_of([&] {
                check_against(old, given({"--norm-epsilon", "1.24e-06"}));
              }),
              AllOf(HasSubstr("1.24e-06"), HasSubstr(in_fp32)));
}

// A path of a preset that an older version wrote, without the options that came later, is none of
// another value: the preset may be given again.
TEST_F(SpecificationTest, OptionsThatCameLaterHaveTheirUsualValues) {
  const auto options = given(
      {"--preset", "llama-tiny", "--global-batch-size", "8", "--lr", "1e-3", "--data-path", old_});
  const auto path = new_path(options);
  auto text = nlohmann::ordered_json::parse(path.to_json());
  for (const char* name :
       {"use-rope-scaling", "rope-scaling-factor", "rope-scaling-low-freq-factor",
        "rope-scaling-high-freq-factor", "rope-scaling-original-max-position-embeddings",
        "add-qkv-bias", "add-attention-output-bias", "add-mlp-bias"}) {
    text["options"].erase(name);
  }
  auto old = PathSpecification::from_json(text.dump(), "test");
  EXPECT_EQ(old.model, path.model);
  EXPECT_NO_THROW(check_against(old, options));
  EXPECT_THAT(error_of([&] { check_against(old, given({"--add-qkv-bias"})); }),
              HasSubstr("--add-qkv-bias true, but the path was made with false"));
  EXPECT_EQ(difference(old, path), "");
}

// As such a path.json was written before seeds were: its own seed for all its data.
TEST_F(SpecificationTest, AnOldBranchReadsByItsOwnSeed) {
  auto text =
      first_format(fork_path(new_path(small()), {"../main", "id", 10, 80}, given({"--seed", "7"})));
  text.erase("seeds");
  for (const char* name : {"warmup_begin", "warmup_from"}) text["schedule"].erase(name);
  const auto old = PathSpecification::from_json(text.dump(), "test");
  EXPECT_EQ(old.seeds.changes, (std::vector<SeedChange>{{0, 7}}));
  EXPECT_EQ(old.schedule, new_path(small()).schedule);
}

TEST_F(SpecificationTest, AnOptionOutOfRangeNamesTheFile) {
  auto text = nlohmann::ordered_json::parse(new_path(small()).to_json());
  text["options"]["lr"] = -1.0;
  try {
    PathSpecification::from_json(text.dump(), "RUN/path.json");
    ADD_FAILURE() << "it was read";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::storage);
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("RUN/path.json cannot be read"), HasSubstr("--lr -1; at least 0")));
  }
}

}  // namespace
}  // namespace switchyard
