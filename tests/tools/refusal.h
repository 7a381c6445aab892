#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/temporary_folder.h"

namespace switchyard::test {

// Runs the program, which must end with the exit code, that of wrong use unless another is given,
// and say why in exactly one line "switchyard: [where] ..." that has all of `parts`. Returns it.
std::string expect_refused(const std::vector<std::string>& arguments,
                           const std::vector<std::string>& parts, int ranks = 1, int code = 2);
std::string expect_refused(const std::string& line, const std::vector<std::string>& parts,
                           int ranks = 1, int code = 2);

// Everything below a folder but its locks, as names and contents.
std::vector<std::pair<std::string, std::string>> contents_of(const std::filesystem::path& folder);

// A folder with two token sets, "a" and "b", and the options of a small new path that reads "a".
class RefusalFolder {
 public:
  RefusalFolder();
  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }
  // `train RUN` with the options of a small path, those given in their place or behind them; an
  // empty value leaves an option out.
  std::string train(const std::string& run,
                    const std::vector<std::pair<std::string, std::string>>& changed = {},
                    const std::string& more = "") const;
  // Trains `run` to `steps`, saving every second.
  void make_path(const std::string& run, int steps) const;
  std::vector<std::pair<std::string, std::string>> contents(const std::string& run) const {
    return contents_of(at(run));
  }

 private:
  TemporaryFolder folder_;
};

}  // namespace switchyard::test
