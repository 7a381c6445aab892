// The tensors of a saved step as a tree.
#include "tools/tensor_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class TreeOfTensors : public testing::Test {
 protected:
  TreeOfTensors() {
    CheckpointInfo info;
    info.step = 5;
    CheckpointStreamWriter writer(folder_.path(), info);
    const std::vector<float> four = {3, -4, std::nanf(""), INFINITY};
    const std::vector<bf16> two = {bf16(0.5F), bf16(-2.0F)};
    const int64_t counters[] = {7, -8, 9, 0};
    for (const std::string layer : {"0", "9", "10"}) {
      writer.add({"/model/layers." + layer + ".up.weight", {2, 2}, DType::f32}, four.data(),
                 {"/optimizer/master/layers." + layer + ".up.weight"});
      writer.add({"/model/layers." + layer + ".up.bias", {2}, DType::bf16}, two.data());
    }
    writer.add({"/model/head.weight", {4}, DType::f32}, four.data());
    writer.add({"/optimizer/counters", {4}, DType::i64}, counters);
    writer.finish();
  }
  TensorTree tree(const std::string& under = "") const {
    static std::optional<CheckpointReader> reader;  // trees refer to its tensors
    reader.emplace(checkpoint_folder(folder_.path(), 5));
    return tensor_tree(*reader, under);
  }
  static std::vector<std::string> names_in(const TensorTree& tree) {
    std::vector<std::string> names;
    for (const auto& child : tree.children) names.push_back(child.name);
    return names;
  }

  const test::TemporaryFolder folder_;
};

TEST_F(TreeOfTensors, GroupsByNames) {
  const TensorTree all = tree();
  EXPECT_EQ(all.name, "/");
  EXPECT_THAT(names_in(all), ElementsAre("/model", "/optimizer"));
  const TensorTree& model = all.children[0];
  EXPECT_THAT(names_in(model), ElementsAre("/model/head.weight", "/model/layers"));
  EXPECT_THAT(names_in(model.children[1]),
              ElementsAre("/model/layers.0.up", "/model/layers.9.up", "/model/layers.10.up"));
  EXPECT_THAT(names_in(model.children[1].children[2]),
              ElementsAre("/model/layers.10.up.bias", "/model/layers.10.up.weight"));
}

TEST_F(TreeOfTensors, CountsElementsOfSeveralNamesOnce) {
  const TensorTree all = tree();
  EXPECT_EQ(all.tensors, 3 * 3 + 2);
  EXPECT_EQ(all.statistics.elements, 3 * (4 + 2) + 4 + 4);
  EXPECT_EQ(all.bytes, 3 * (16 + 4) + 16 + 32);
  const TensorTree& master = all.children[1].children[1];
  EXPECT_EQ(master.name, "/optimizer/master/layers");
  EXPECT_EQ(master.statistics.elements, 12);
  EXPECT_EQ(master.children[0].same_as, "/model/layers.0.up.weight");
}

TEST_F(TreeOfTensors, SumsUp) {
  const TensorTree model = tree("/model");
  EXPECT_EQ(model.statistics.norm(), std::sqrt(4 * 25.0 + 3 * 4.25));
  EXPECT_EQ(model.statistics.nans, 4);
  EXPECT_EQ(model.statistics.infinities, 4);
  EXPECT_EQ(model.statistics.min, -4);
  EXPECT_EQ(model.statistics.max, 3);
}

TEST_F(TreeOfTensors, OfAGroupOrATensorAlone) {
  EXPECT_EQ(tree("model/layers.10").name, "/model/layers.10.up");
  EXPECT_EQ(tree("/model/layers.9.up.bias").tensors, 1);
  EXPECT_EQ(tree("/model/layers/").tensors, 6);
  for (const std::string none : {"/model/layers.1", "/mod", "/model/head.weight.more"}) {
    try {
      tree(none);
      FAIL() << none;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("--under " + none + ": no tensor of step 5"));
    }
  }
}

TEST_F(TreeOfTensors, AsJson) {
  const Json counters = to_json(tree("optimizer/counters"));
  EXPECT_EQ(json_text(counters),
            R"({"name":"/optimizer/counters","shape":[4],"dtype":"i64","elements":4,"bytes":32,)"
            R"("norm":13.92838827718412,"min":-8,"max":9,"nan":0,"inf":0})");
  const Json all = to_json(tree());
  EXPECT_EQ(all.at("children").size(), 2U);
  EXPECT_EQ(all.at("tensors"), 11);
}

TEST_F(TreeOfTensors, AsLines) {
  const auto lines = to_lines(tree("/model/layers.10"));
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_THAT(lines[1], testing::StartsWith("/model/layers.10.up  2 tensors"));
  EXPECT_THAT(lines[2], testing::StartsWith("  bias               [2] bf16 "));
  EXPECT_THAT(lines[3], HasSubstr(" 5           -4            3            1            1"));
}

}  // namespace
}  // namespace switchyard
