#pragma once

#include <sys/types.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/temporary_folder.h"
#include "tests/tools/program.h"

namespace switchyard::test {

// A folder with the token sets d1 to d4 and held, and campaigns over them.
class CampaignFolder {
 public:
  CampaignFolder();
  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }
  // Writes NAME.toml: versions v1 ... of `steps` steps each, whose paths lie in NAME. `top` stands
  // in front of all tables; `tables` behind them.
  std::string write(const std::string& name, int versions = 4, const std::string& top = "",
                    const std::string& tables = "", int steps = 10) const;
  nlohmann::json status(const std::string& name) const;
  // Of the last version of an arm: what `status` says of it.
  nlohmann::json last_version(const std::string& name, const std::string& arm) const;

 private:
  TemporaryFolder folder_;
};

// All processes below this one, itself the first.
std::vector<pid_t> descendants(pid_t root);

}  // namespace switchyard::test
