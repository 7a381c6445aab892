#include "tests/support/temporary_folder.h"

#include <stdlib.h>

#include <string>

#include "core/error.h"

namespace switchyard::test {

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "switchyard-XXXXXX").string();
  check(mkdtemp(name.data()) != nullptr, "test", "cannot make a temporary folder like {}", name);
  path_ = std::filesystem::path(name) / "t";
  std::filesystem::create_directory(path_);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_.parent_path(), ignored);
}

}  // namespace switchyard::test
