#pragma once

#include <gmock/gmock.h>

#include <functional>
#include <string>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "launch/exchange/export.h"
#include "launch/exchange/import.h"
#include "launch/path/run_folder.h"
#include "tests/golden/published_file.h"
#include "tests/support/temporary_folder.h"

namespace switchyard::test {

// A folder for published models and what is made of them.
class PublishedFolder : public testing::Test {
 protected:
  std::filesystem::path at(const std::string& name) const { return folder.path() / name; }

  // Writes a golden model, changed, under its name.
  std::filesystem::path publish(const std::string& name, const std::string& salt = "",
                                const std::function<void(PublishedGolden&)>& change = {}) {
    auto golden = read_published(name);
    if (change) change(golden);
    write_published(golden, at(name + salt), salt);
    return at(name + salt);
  }
  void change_config(const std::string& name, const std::function<void(Json&)>& change) {
    const auto file = at(name) / "config.json";
    Json config = parse_json(read_file(file));
    change(config);
    write_file_atomically(file, json_text(config));
  }

  TemporaryFolder folder;
};

// What is thrown says this, and names no second line.
inline void expect_error(const std::function<void()>& body, const std::string& part) {
  try {
    body();
    ADD_FAILURE() << "nothing was thrown; expected: " << part;
  } catch (const Error& problem) {
    EXPECT_THAT(problem.what(), testing::HasSubstr(part));
    EXPECT_THAT(problem.what(), testing::Not(testing::HasSubstr("\n")));
  }
}

}  // namespace switchyard::test
