#include "launch/campaign/campaign_versions.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "launch/campaign/campaign_options.h"

namespace switchyard {

namespace {

constexpr size_t longest_name = 100;              // it is part of the names of files
constexpr int64_t most_steps = int64_t{1} << 40;  // sums of them fit

}  // namespace

void check_plain_name(const FileNode& node) {
  const std::string& name = node.word();
  const bool plain = !name.empty() && name.find_first_not_of(
                                          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ"
                                          "KLMNOPQRSTUVWXYZ0123456789._-") == std::string::npos;
  check(plain && !name.starts_with('.') && !name.starts_with('-') && name.size() <= longest_name,
        "campaign",
        "{} = \"{}\"; up to {} letters, digits, '.', '_' and '-' are allowed, neither '.' nor '-' "
        "first",
        node.place, name, longest_name);
}

namespace {

double checked_share(const FileNode& node, double share) {
  check(share > 0 && share <= 1, "campaign",
        "{} = {}; a share of a version's steps, 0 < share <= 1, is allowed", node.place, share);
  return share;
}

// What the file says of the branches' shares: one for all, one a version (the last one for those
// behind it, too), or one that grows from version to version up to 1.
class Shares {
 public:
  explicit Shares(const FileNode& file) {
    const auto* branch = file.find("branch");
    if (branch == nullptr) return;
    if ((node_ = branch->find("share")) != nullptr) {
      all_ = node_->reals();
      for (size_t i = 0; i < all_.size(); ++i)
        checked_share(node_->items.empty() ? *node_ : node_->items[i], all_[i]);
    }
    const auto* growth = branch->find("share-growth");
    if (growth == nullptr) return;
    growth_ = growth->real();
    check(all_.size() == 1, "campaign", "{} = {} with {} shares; it is allowed with one share",
          growth->place, growth_, all_.size());
    check(growth_ >= 0 && growth_ < 1, "campaign", "{} = {}; 0 <= growth < 1 is allowed",
          growth->place, growth_);
  }

  double of(size_t version, const FileNode& table) const {
    if (const auto* own = table.find("share")) return checked_share(*own, own->real());
    check(!all_.empty(), "campaign",
          "{}: branch.share is missing, the share of a version's steps that its branch takes",
          table.place);
    const double share = all_[std::min(version, all_.size() - 1)];
    return std::min(1.0, share + growth_ * static_cast<double>(version));
  }
  void check_count(size_t versions) const {
    check(all_.size() <= versions, "campaign",
          "{} has {} shares for {} versions; at most as many "
          "are allowed",
          node_ == nullptr ? "" : node_->place, all_.size(), versions);
  }

 private:
  const FileNode* node_ = nullptr;
  std::vector<double> all_;
  double growth_ = 0;
};

void add_held_out(const FileNode* table, const Campaign& campaign, Version& version) {
  if (table == nullptr) return;
  for (const auto& [name, node] : table->table()) {
    FileNode named = node;
    named.kind = FileNode::Kind::text;
    named.text = name;
    check_plain_name(named);
    check(std::ranges::find(version.held_out, name, &HeldOutSet::name) == version.held_out.end(),
          "campaign", "{}: a held-out set of this name is there already; another name is allowed",
          node.place);
    HeldOutSet set{name, node.words()};
    for (size_t i = 0; i < set.data.size(); ++i)
      set.data[i] = from_file(node.items.empty() ? node : node.items[i], campaign);
    version.held_out.push_back(std::move(set));
  }
}

const FileNode& needed(const FileNode& table, const char* key) {
  const auto* node = table.find(key);
  check(node != nullptr, "campaign", "{}: {} is missing", table.place, key);
  return *node;
}

Version version_in(const FileNode& table, size_t index, const Shares& shares, const FileNode& file,
                   const Campaign& campaign) {
  table.check_known({"name", "steps", "data-path", "held-out", "share"});
  Version v;
  v.place = table.place;
  check_plain_name(needed(table, "name"));
  v.name = table.find("name")->word();
  const auto& steps = needed(table, "steps");
  v.steps = steps.integer();
  check(v.steps >= 1 && v.steps <= most_steps, "campaign", "{} = {}; 1 to {} is allowed",
        steps.place, v.steps, most_steps);
  if (index == 0 || table.find("data-path") != nullptr)
    v.data = data_from_file(needed(table, "data-path"), campaign);
  v.share = shares.of(index, table);
  v.branch_steps = std::llround(v.share * static_cast<double>(v.steps));
  check(v.branch_steps >= 1, "campaign",
        "{}: a share of {} of {} steps is no step; a larger share is allowed", table.place, v.share,
        v.steps);
  add_held_out(file.find("held-out"), campaign, v);
  add_held_out(table.find("held-out"), campaign, v);
  return v;
}

}  // namespace

void read_versions(const FileNode& file, Campaign& campaign) {
  const auto* all = file.find("version");
  check(all != nullptr, "campaign", "{}: [[version]] is missing, one table for each version",
        campaign.file.string());
  check(all->kind == FileNode::Kind::list && !all->items.empty(), "campaign",
        "{}: a table for each version, [[version]], is allowed", all->place);
  const Shares shares(file);
  for (size_t i = 0; i < all->items.size(); ++i) {
    auto version = version_in(all->items[i], i, shares, file, campaign);
    const auto same = std::ranges::find(campaign.versions, version.name, &Version::name);
    check(same == campaign.versions.end(), "campaign",
          "{}: name = \"{}\", as at {}; each version has a name of its own", version.place,
          version.name, same == campaign.versions.end() ? "" : same->place);
    campaign.versions.push_back(std::move(version));
  }
  shares.check_count(campaign.versions.size());
}

}  // namespace switchyard
