#include "tests/tools/campaign_folder.h"

#include <fstream>

namespace switchyard::test {

CampaignFolder::CampaignFolder() {
  unsigned seed = 1;
  for (const char* name : {"d1", "d2", "d3", "d4", "held"})
    make_tokens(folder_.path(), name, name == std::string("held") ? 2000 : 20000, seed++);
}

std::string CampaignFolder::write(const std::string& name, int versions, const std::string& top,
                                  const std::string& tables, int steps) const {
  std::ofstream file(at(name + ".toml"));
  file << "folder = \"" << name << "\"\n"
       << top << R"(
[train]
num-layers = 2
hidden-size = 32
num-attention-heads = 2
seq-length = 32
global-batch-size = 4
lr = 1e-3
lr-warmup-iters = 3
hidden-dropout = 0.1
save-interval = 3

[held-out]
held = "held"

[branch]
share = 0.6
)" << tables;
  for (int i = 1; i <= versions; ++i) {
    file << "\n[[version]]\nname = \"v" << i << "\"\nsteps = " << steps << "\ndata-path = \"d" << i
         << "\"\n";
  }
  return at(name + ".toml");
}

nlohmann::json CampaignFolder::status(const std::string& name) const {
  return nlohmann::json::parse(run_well("campaign status " + at(name + ".toml") + " --json"));
}

nlohmann::json CampaignFolder::last_version(const std::string& name, const std::string& arm) const {
  nlohmann::json last;
  const auto all = status(name);
  for (const auto& version : all["versions"]) {
    if (version["arm"] == arm) last = version;
  }
  return last;
}

std::vector<pid_t> descendants(pid_t root) {
  std::vector<pid_t> all{root};
  for (size_t i = 0; i < all.size(); ++i) {
    const std::filesystem::path tasks = "/proc/" + std::to_string(all[i]) + "/task";
    std::error_code ignored;
    for (const auto& task : std::filesystem::directory_iterator(tasks, ignored)) {
      std::ifstream children(task.path() / "children");
      for (pid_t child = 0; children >> child;) all.push_back(child);
    }
  }
  return all;
}

}  // namespace switchyard::test
