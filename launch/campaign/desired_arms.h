#pragma once

#include "launch/campaign/desired.h"

namespace switchyard {

// The paths of one seed are being listed.
struct SeedPaths {
  const Campaign& campaign;
  int64_t seed = 0;
  std::string prefix;  // of names: "" for the first seed, "seed-7/" for another
  Desired& desired;

  // Adds a version and its scores. `weights`: the group of its checkpoint.
  void add_version(size_t version, const std::string& arm, const std::string& of, int64_t step,
                   std::vector<PathPart> parts, const std::string& weights = "model");
};

// Each adds the paths, averages, versions and scores of an arm. The main path is shared by path
// switching, averaged trunk and soup; it is there already.
void add_path_switching(SeedPaths& to);
void add_ptfs(SeedPaths& to);
void add_cpt(SeedPaths& to);
void add_wsd_s(SeedPaths& to);
void add_averaged_trunk(SeedPaths& to);
void add_soup(SeedPaths& to);
void add_main_scores(SeedPaths& to);

// Whether some arm goes on from the main path, and the main path as these arms need it: with no
// tail behind the last fork unless an average is taken of it.
bool needs_main(const Campaign& campaign);
DesiredPath main_path(const SeedPaths& of);

// What a new path is made of: the campaign's options, an arm's over them, this seed and these data.
Settings new_path_options(const SeedPaths& of, const Settings& arm, std::vector<std::string> data);
// Adds a decay over so many steps, by the style and floor of `decay`.
void add_decay(Settings& to, const Settings& decay, int64_t steps);
void set_option(Settings& to, const std::string& name, std::vector<std::string> values);

}  // namespace switchyard
