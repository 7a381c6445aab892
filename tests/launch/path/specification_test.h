#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "core/error.h"
#include "data/tokenizer.h"
#include "launch/path/specification.h"
#include "tests/support/temporary_folder.h"

namespace switchyard::test {

// Options of a small path over sets of its own.
class SpecificationTest : public testing::Test {
 protected:
  std::string make_set(const std::string& name, size_t bytes = 20'000) {
    const auto file = (folder_.path() / (name + ".txt")).string();
    std::ofstream(file) << std::string(bytes, name.front());
    TokenizeOptions options;
    options.inputs = {file};
    options.output_prefix = (folder_.path() / name).string();
    options.progress = false;
    tokenize(options);
    return options.output_prefix;
  }

  static Settings given(const std::vector<std::string>& line) {
    auto all = model_options();
    const auto training = training_options();
    all.insert(all.end(), training.begin(), training.end());
    return parse_command(all, line).given;
  }

  Settings small(std::vector<std::string> more = {}) {
    std::vector<std::string> line = {"--num-layers",          "2", "--hidden-size", "32",
                                     "--num-attention-heads", "4", "--seq-length",  "16",
                                     "--global-batch-size",   "8", "--lr",          "1e-3"};
    line.insert(line.end(), more.begin(), more.end());
    line.insert(line.end(), {"--data-path", old_});
    return given(line);
  }

  template <class F>
  static std::string error_of(F&& f) {
    try {
      f();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  TemporaryFolder folder_;
  std::string old_ = make_set("old");
  std::string new_ = make_set("new", 24'000);  // a set is known by its sizes
};

}  // namespace switchyard::test
