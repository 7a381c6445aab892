#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "core/json.h"
#include "tests/parallel/checkpoint/safetensors_cases.h"

// What a header says is read whole, or refused in one line.
namespace switchyard {
namespace {

using namespace test;
using testing::HasSubstr;

SafetensorsHeader parse(std::string_view file) {
  return parse_safetensors(std::as_bytes(std::span(file)), "m.safetensors");
}

TEST(SafetensorsHeader, EveryFieldIsRead) {
  const std::string header = R"({"w":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},)"
                             R"("__metadata__":{"format":"pt","by":"\"us\""},)"
                             R"("s\u00e4":{"data_offsets":[0,4],"shape":[],"dtype":"F32"},)"
                             R"("none":{"dtype":"F16","shape":[3,0],"data_offsets":[16,16]},)"
                             R"("b":{"dtype":"BOOL","shape":[5],"data_offsets":[16,21]}}   )";
  const SafetensorsHeader read = parse(file_of(header, 21));
  EXPECT_EQ(read.metadata,
            (std::map<std::string, std::string>{{"by", "\"us\""}, {"format", "pt"}}));
  const auto data = static_cast<int64_t>(8 + header.size());
  ASSERT_EQ(read.tensors.size(), 4U);
  const std::vector<const char*> names = {"s\u00e4", "w", "none", "b"};
  const std::vector<const char*> shapes = {"[]", "[2, 3]", "[3, 0]", "[5]"};
  const std::vector<int64_t> offsets = {0, 4, 16, 16};
  const std::vector<int64_t> bytes = {4, 12, 0, 5};
  const std::vector<std::optional<DType>> dtypes = {DType::f32, DType::bf16, DType::f16, {}};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(read.tensors[i].name, names[i]);
    EXPECT_EQ(shape_text(read.tensors[i]), shapes[i]);
    EXPECT_EQ(read.tensors[i].offset, data + offsets[i]);
    EXPECT_EQ(read.tensors[i].bytes, bytes[i]);
    EXPECT_EQ(weight_dtype(read.tensors[i]), dtypes[i]);
  }
  EXPECT_EQ(parse(file_of("{}", 0)).tensors.size(), 0U);
}

TEST(SafetensorsHeader, AllTypesOfTheFormatAreKnown) {
  const std::vector<std::pair<const char*, int>> types = {
      {"BOOL", 1},        {"U8", 1},          {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1},
      {"F8_E8M0", 1},     {"F8_E4M3FNUZ", 1}, {"I16", 2}, {"U16", 2},     {"F16", 2},
      {"BF16", 2},        {"I32", 4},         {"U32", 4}, {"F32", 4},     {"C64", 8},
      {"F8_E5M2FNUZ", 1}, {"F64", 8},         {"I64", 8}, {"U64", 8}};
  for (const auto& [name, size] : types) {
    const Json entry = {{"a", {{"dtype", name}, {"shape", {3}}, {"data_offsets", {0, 3 * size}}}}};
    const auto bytes = 3 * static_cast<size_t>(size);
    EXPECT_EQ(parse(file_of(json_text(entry), bytes)).tensors[0].bytes, 3 * size) << name;
  }
}

struct BadFile {
  std::string file;
  const char* message;
};

BadFile header(std::string_view text, const char* message) { return {file_of(text, 8), message}; }

// A header with one tensor "a", of which this is the entry.
BadFile tensor(const std::string& entry, const char* message) {
  return header(R"({"a":{)" + entry + "}}", message);
}

// Two tensors of U8, of n bytes each.
BadFile pair(const std::string& n, const std::string& first, const std::string& second,
             const char* message) {
  return header(R"({"a":{"dtype":"U8","shape":[)" + n + R"(],"data_offsets":)" + first +
                    R"(},"b":{"dtype":"U8","shape":[)" + n + R"(],"data_offsets":)" + second + "}}",
                message);
}

void expect_refused(const std::vector<BadFile>& cases) {
  for (const auto& [file, message] : cases) {
    const std::string line = refusal([&, bytes = std::string_view(file)] { parse(bytes); });
    EXPECT_THAT(line, testing::StartsWith("[safetensors] m.safetensors"));
    EXPECT_THAT(line, HasSubstr(message));
    EXPECT_EQ(line.find('\n'), std::string::npos) << line;
  }
}

TEST(SafetensorsHeader, WrongLengthsAreRefused) {
  constexpr uint64_t huge = std::numeric_limits<uint64_t>::max();
  expect_refused({
      {"", "has 0 bytes; a safetensors file begins with 8"},
      {"1234567", "has 7 bytes; a safetensors file begins with 8"},
      {file_with_length(3, "{}"), "the header's length is 3 bytes, but the file has 10"},
      {file_with_length(100'000'001, "{}"), "is 100000001 bytes; at most 100000000 are allowed"},
      {file_with_length(huge, "{}"), "is 18446744073709551615 bytes; at most 100000000"},
      {file_with_length(0, ""), "is not JSON"},
  });
}

TEST(SafetensorsHeader, AGitLfsPointerIsNamed) {
  expect_refused(
      {{"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0f"
        "f69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n",
        "is a Git LFS pointer in place of the file, which `git lfs pull` brings"}});
}

TEST(SafetensorsHeader, WhatIsNoHeaderIsRefused) {
  const std::string deep(200'000, '[');
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += R"({"a":)";
  expect_refused({
      header("{\"a\"", "the header is not JSON; its first 4 bytes were read"),
      header("{} {}", "is not JSON"),
      header(R"({"a":{"dtype":"U8",}})", "is not JSON"),
      header("{\"\xff\":{}}", "is not JSON"),
      header(std::string_view("{}\0\0", 4), "is not JSON: byte 2 of it is NUL"),
      header(R"({"a":{"dtype":"U8","shape":[1e999]}})", "is not JSON"),
      header(" {}", "the header must begin with '{'"),
      header("[]", "the header must be an object, not a list"),
      header("17", "the header must be an object, not 17"),
      header(deep, "the header must be an object, not a list"),
      header(R"({"a":{"shape":)" + deep, "the axes of tensor \"a\" must be whole numbers"),
      header(objects, "tensor \"a\" has \"a\"; dtype, shape and data_offsets are known"),
      header(R"({"__metadata__":{"a":{}}})", "\"a\" of __metadata__ must be a string, not an obj"),
      header(R"({"__metadata__":{"a":1}})", "\"a\" of __metadata__ must be a string, not 1"),
      header(R"({"__metadata__":null})", "__metadata__ must be an object, not null"),
      header(R"({"__metadata__":{"a":"","a":""}})", "__metadata__ has \"a\" twice"),
      header(R"({"__metadata__":{},"__metadata__":{}})", "\"__metadata__\" is there twice"),
      header(R"({"a":7})", "tensor \"a\" must be an object, not 7"),
      header(R"({"a\nb":true})", R"(tensor "a\nb" must be an object, not true)"),
      header(R"({"":{}})", "a tensor's name is empty"),
      header(R"({"a\u0000b":{}})", R"(the name "a\u0000b" has a NUL)"),
      header("{\"" + std::string(5000, 'a') + "\":0}", "aaa...\" must be an object, not 0"),
  });
}

TEST(SafetensorsHeader, WrongEntriesAreRefused) {
  const std::string u8 = R"("dtype":"U8",)";
  const std::string nine = R"("data_offsets":[0,8])";
  expect_refused({
      tensor(R"("shape":[8],"data_offsets":[0,8])", "tensor \"a\" has no dtype"),
      tensor(u8 + nine, "tensor \"a\" has no shape"),
      tensor(u8 + R"("shape":[8])", "tensor \"a\" has no data_offsets"),
      tensor(u8 + R"("dtype":"U8")", "tensor \"a\" has dtype twice"),
      tensor(u8 + R"("strides":[1])", "tensor \"a\" has \"strides\"; dtype, shape and data_off"),
      tensor(R"("dtype":"F128","shape":[8],)" + nine,
             "tensor \"a\" has the unknown dtype \"F128\""),
      tensor(R"("dtype":"F4","shape":[16],)" + nine, "tensor \"a\" is of F4; elements of less"),
      tensor(R"("dtype":8)", "the dtype of tensor \"a\" must be a string, not 8"),
      tensor(u8 + R"("shape":8)", "the shape of tensor \"a\" must be a list, not 8"),
      tensor(u8 + R"("shape":[-8])", "must be whole numbers from 0 to 2^63 - 1, not -8"),
      tensor(u8 + R"("shape":[8.0])", "must be whole numbers from 0 to 2^63 - 1, not 8.0"),
      tensor(u8 + R"("shape":["8"])", "must be whole numbers from 0 to 2^63 - 1, not a string"),
      tensor(u8 + R"("shape":[9223372036854775808])", "not 9223372036854775808"),
      tensor(u8 + R"("shape":[99999999999999999999])", "not 99999999999999999999"),
      tensor(u8 + R"("shape":[4294967296,4294967296],)" + nine, "has 2^63 bytes or more"),
      tensor(R"("dtype":"F64","shape":[0,1152921504606846976],)" + nine, "has 2^63 bytes or more"),
      tensor(u8 + R"("shape":[)" + std::string(64 * 2, '1') + ",", "axes of tensor \"a\" must be"),
      tensor(u8 + R"("shape":[7],)" + nine,
             "tensor \"a\" of U8 [7] needs 7 bytes, but its data_offsets [0, 8] have 8"),
      tensor(u8 + R"("shape":[],)" + nine, "tensor \"a\" of U8 [] needs 1 bytes"),
  });
  std::string axes = "1";
  for (int i = 0; i < 64; ++i) axes += ",1";
  expect_refused({tensor(u8 + "\"shape\":[" + axes + "]", "tensor \"a\" has more than 64 axes")});
}

TEST(SafetensorsHeader, WrongOffsetsAreRefused) {
  const std::string begin = R"("dtype":"U8","shape":[8],"data_offsets":)";
  expect_refused({
      tensor(begin + "[0]", "tensor \"a\" must have two data_offsets, not 1"),
      tensor(begin + "[0,4,8]", "tensor \"a\" has more than 2 data_offsets"),
      tensor(begin + "{}", "the data_offsets of tensor \"a\" must be a list, not an object"),
      tensor(begin + "[0,8.5]", "must be two whole numbers from 0 to 2^63 - 1, not 8.5"),
      tensor(begin + "[-8,0]", "must be two whole numbers from 0 to 2^63 - 1, not -8"),
      tensor(begin + "[8,0]", "tensor \"a\" begins at byte 8, behind its end at 0"),
      tensor(begin + "[8,16]", "tensor \"a\" ends at byte 16 of the data, which are 8 bytes"),
      tensor(begin + "[9223372036854775799,9223372036854775807]",
             "ends at byte 9223372036854775807"),
      pair("4", "[0,4]", "[3,7]", "tensor \"b\" begins at byte 3 of the data, within tensor \"a\""),
      pair("4", "[4,8]", "[4,8]", "bytes 0 to 4 of the data, before tensor \"a\", belong to no"),
      pair("3", "[0,3]", "[4,7]", "bytes 3 to 4 of the data, before tensor \"b\", belong to no"),
      pair("3", "[0,3]", "[3,6]", "the last 2 bytes belong to no tensor"),
      header("{}", "the last 8 bytes belong to no tensor"),
      header(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{}})",
             "\"a\" is there twice"),
  });
}

}  // namespace
}  // namespace switchyard
