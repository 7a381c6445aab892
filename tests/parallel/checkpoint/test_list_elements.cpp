// The index's text is read with one tensor at a time in memory.
#include "parallel/checkpoint/list_elements.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/checkpoint/index.h"
#include "tests/parallel/checkpoint/checkpoint_cases.h"

namespace switchyard::test {
namespace {

using testing::HasSubstr;

TEST(ListElements, AreHandedOverAndForgotten) {
  std::vector<std::string> taken;
  const Json rest = take_list_elements(
      R"({"a":[{"x":[1,{"y":2}]},{"z":[[{}]]}],"b":{"c":[{"d":1}]},"e":[7],"a2":[{}],"f":true})",
      [&](const std::string& list, const Json& element) {
        taken.push_back(list + " " + json_text(element));
      });
  EXPECT_THAT(taken, testing::ElementsAre(R"(a {"x":[1,{"y":2}]})", R"(a {"z":[[{}]]})", "a2 {}"));
  EXPECT_EQ(json_text(rest), R"({"a":[],"b":{"c":[{"d":1}]},"e":[7],"a2":[],"f":true})");
}

TEST(ListElements, OfNoJsonAreAnError) {
  for (const std::string text : {"", "{", R"({"a":[{]})", R"({"a":[{}]} x)"}) {
    EXPECT_THAT(error_of([&] { take_list_elements(text, [](const auto&, const Json&) {}); }),
                HasSubstr("the index of the checkpoint cannot be read"))
        << text;
  }
}

TEST(IndexText, HasWhatItWasMadeOf) {
  CheckpointIndex index;
  index.shards = {{3, 100, "", 5}, {3, 200, "moments", std::nullopt}};
  index.tensors = {{{"/a", {2, 3}, DType::bf16}, {"/b"}, {{1, "/a#1", {{0, 1}, {2, 2}}, 64, 7}}},
                   {{"/c", {0}, DType::f32}, {}, {}}};
  const std::string text = to_json(index, true);
  const CheckpointIndex read = index_from_json(text);
  EXPECT_TRUE(read.sealed);
  EXPECT_EQ(to_json(read, true), text);
  EXPECT_EQ(
      text,
      R"({"shards":[{"bytes":100,"rank":3,"rest_xxh3_64":"0000000000000005"},)"
      R"({"bytes":200,"rank":3,"part":"moments"}],"tensors":[{"aliases":["/b"],"dtype":"bf16",)"
      R"("name":"/a","pieces":[{"address":64,"dataset":"/a#1","extent":[2,2],"offset":[0,1],)"
      R"("shard":1,"xxh3_64":"0000000000000007"}],"shape":[2,3]},{"aliases":[],"dtype":"f32",)"
      R"("name":"/c","pieces":[],"shape":[0]}],"sealed":true})");
  EXPECT_EQ(to_json(index_from_json(R"({"shards":[],"tensors":[],"later":[{"x":1}]})")),
            R"({"shards":[],"tensors":[]})");
}

TEST(IndexText, ThatIsNoneIsRefused) {
  for (const std::string text :
       {"[]", "7", "{}", R"({"shards":[]})", R"({"shards":5,"tensors":[]})",
        R"({"shards":[],"tensors":{}})", R"({"shards":[],"tensors":[5]})",
        R"({"shards":[{"rank":0}],"tensors":[]})", R"({"shards":[],"tensors":[{"name":"/a"}]})",
        R"([[{"a":1}]])"}) {
    EXPECT_THAT(error_of([&] { index_from_json(text); }), HasSubstr("cannot be read")) << text;
  }
}

}  // namespace
}  // namespace switchyard::test
