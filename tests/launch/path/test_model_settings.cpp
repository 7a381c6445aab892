#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tests/launch/path/specification_test.h"

// Options of a model, as a path takes them.
namespace switchyard {
namespace {

using test::SpecificationTest;
using testing::AllOf;
using testing::HasSubstr;

TEST_F(SpecificationTest, BiasesOfEachKindAreAskedForWithoutThoseOfAll) {
  const auto path = new_path(small({"--disable-bias-linear", "--add-qkv-bias"}));
  EXPECT_TRUE(path.model.qkv_bias && !path.model.attention_output_bias && !path.model.mlp_bias);
  EXPECT_TRUE(new_path(small({"--disable-bias-linear", "--add-attention-output-bias"}))
                  .model.attention_output_bias);
  EXPECT_TRUE(new_path(small({"--disable-bias-linear", "--add-mlp-bias"})).model.mlp_bias);
  for (const char* name : {"--add-qkv-bias", "--add-attention-output-bias", "--add-mlp-bias"}) {
    EXPECT_THAT(error_of([&] { new_path(small({name})); }),
                AllOf(HasSubstr(name), HasSubstr("--disable-bias-linear")));
  }
}

TEST_F(SpecificationTest, RotaryFrequenciesAreScaledWhereThatIsAskedFor) {
  const auto rope = [&](std::vector<std::string> more) {
    more.insert(more.end(), {"--position-embedding-type", "rope"});
    return new_path(small(std::move(more)));
  };
  const auto scaled = rope({"--use-rope-scaling", "--rope-scaling-factor", "32",
                            "--rope-scaling-low-freq-factor", "0.5"})
                          .model;
  EXPECT_TRUE(scaled.rope_scaling);
  EXPECT_EQ(scaled.rope_factor, 32);
  EXPECT_EQ(scaled.rope_low_frequency, 0.5);
  EXPECT_EQ(scaled.rope_high_frequency, 4);
  EXPECT_EQ(scaled.rope_original_positions, 8192);
  for (const char* name :
       {"--rope-scaling-factor", "--rope-scaling-low-freq-factor",
        "--rope-scaling-high-freq-factor", "--rope-scaling-original-max-position-embeddings"}) {
    EXPECT_THAT(error_of([&] {
                  rope({name, "2"});
                }),
                AllOf(HasSubstr(std::string(name) + " 2 "), HasSubstr("--use-rope-scaling")));
  }
  EXPECT_THAT(error_of([&] { new_path(small({"--use-rope-scaling"})); }),
              AllOf(HasSubstr("learned positions"), HasSubstr("--position-embedding-type rope")));
}

// A model of rotary positions is trained on whatever length; longer ones are told.
TEST_F(SpecificationTest, PositionsOfRotaryModelsAreApartFromTheLength) {
  const auto rope = [&](const std::string& positions) {
    return small({"--position-embedding-type", "rope", "--max-position-embeddings", positions});
  };
  const auto path = new_path(rope("32"));
  EXPECT_EQ(path.model.max_positions, 32);
  EXPECT_EQ(describe_positions(path), "");
  EXPECT_THAT(error_of([&] { new_path(rope("8")); }),
              AllOf(HasSubstr("--max-position-embeddings 8"), HasSubstr("--seq-length 16")));
  const auto longer = fork_path(path, {"../main", "id", 10, 80},
                                given({"--seq-length", "64", "--data-path", new_}));
  EXPECT_EQ(describe_positions(longer),
            "--seq-length 64 is longer than the 32 positions (--max-position-embeddings) that the "
            "model was made for");
}

// 9 of 30 channels.
TEST_F(SpecificationTest, ARotaryWidthThatWouldBeRoundedIsRefused) {
  const auto with = [&](const std::string& percent) {
    return small(
        {"--kv-channels", "30", "--position-embedding-type", "rope", "--rotary-percent", percent});
  };
  EXPECT_THAT(error_of([&] { new_path(with("0.3")); }),
              AllOf(HasSubstr("--rotary-percent 0.3 of heads of 30 channels (--kv-channels"),
                    HasSubstr("is 9, no even whole number"),
                    HasSubstr("0.26666666666666666 (8 channels) or 0.3333333333333333 (10 ")));
  for (const auto& [percent, channels] :
       {std::pair{"0.26666666666666666", 8}, {"0.3333333333333333", 10}, {"1", 30}, {"0.2", 6}}) {
    EXPECT_EQ(new_path(with(percent)).model.rotary_dim(), channels) << percent;
  }
}

// 0.58 of 100 is a little less than 58 in double precision.
TEST_F(SpecificationTest, APercentageThatIsAllowedIsNamedToTheLastDigit) {
  const auto with = [&](const std::string& percent) {
    return small(
        {"--kv-channels", "100", "--position-embedding-type", "rope", "--rotary-percent", percent});
  };
  EXPECT_THAT(error_of([&] { new_path(with("0.58")); }), HasSubstr("0.5800000000000001 (58"));
  EXPECT_EQ(new_path(with("0.5800000000000001")).model.rotary_dim(), 58);
}

// As an older version made it. It goes on, and is not made anew where it has no step yet.
TEST_F(SpecificationTest, APathWithARoundedRotaryWidthStays) {
  const auto with = [&](const std::string& percent) {
    return small(
        {"--kv-channels", "30", "--position-embedding-type", "rope", "--rotary-percent", percent});
  };
  auto text = nlohmann::ordered_json::parse(new_path(with("0.2")).to_json());
  text["options"]["rotary-percent"] = 0.3;
  auto old = PathSpecification::from_json(text.dump(), "test");
  EXPECT_EQ(old.model.rotary_dim(), 8);
  EXPECT_THAT(rounded_sizes(old.model, given({})),
              testing::ElementsAre("8 of a head's 30 channels are rotated (--rotary-percent 0.3 is "
                                   "9, down to an even number)"));
  EXPECT_NO_THROW(check_against(old, with("0.3")));
  EXPECT_EQ(difference(old, path_as_asked(with("0.3"))), "");
  EXPECT_EQ(fork_path(old, {"../main", "id", 10, 80}, given({"--lr", "0.5"})).model.rotary_dim(),
            8);
}

TEST(ModelSettings, EveryPresetSurvives) {
  for (const auto& name : preset_names())
    EXPECT_EQ(config_of(settings_of(preset(name))), preset(name)) << name;
}

}  // namespace
}  // namespace switchyard
