#include "tests/faults/disk.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/files.h"

namespace fs = std::filesystem;

namespace switchyard::test {

namespace {

constexpr int64_t sector = 512;  // bytes that a disk writes whole

void put(std::string& bytes, int64_t place, std::string_view data) {
  const auto end = static_cast<size_t>(place) + data.size();
  if (bytes.size() < end) bytes.resize(end, '\0');
  bytes.replace(static_cast<size_t>(place), data.size(), data);
}

bool happens(std::mt19937_64& random, int percent) {
  return static_cast<int>(random() % 100) < percent;
}

}  // namespace

Content::Content(std::string all)
    : bytes(std::move(all)), hash(XXH3_64bits(bytes.data(), bytes.size())) {}

void write_image(const Image& image, const std::string& below, const fs::path& to) {
  for (const auto& [name, content] : image) {
    if (!name.starts_with(below + "/")) continue;
    const fs::path path = to / name.substr(below.size() + 1);
    if (!content) {
      make_folder(path);
    } else {
      const auto problem = write_whole(path, content->bytes, Durability::in_memory);
      check(!problem, "test", "{}: {}", path.string(), problem.message());
    }
  }
}

Disk::Id Disk::find(const std::string& name) const {
  Id at = 1;
  for (const fs::path& part : fs::path(name)) {
    const auto found = names_.find({at, part.string()});
    check(found != names_.end(), "test", "the trace has no {}", name);
    at = found->second;
  }
  return at;
}

Disk::Place Disk::place_of(const std::string& name) const {
  const fs::path path = name;
  return {find(path.parent_path().string()), path.filename().string()};
}

void Disk::set(NameMap& names, const NameChange& change) {
  for (const auto& [place, id] : change.sets) {
    if (id != 0) {
      names[place] = id;
    } else if (const auto found = names.find(place);
               found != names.end() && found->second == change.goes) {
      names.erase(found);
    }
  }
}

void Disk::change_names(NameChange change) {
  set(names_, change);
  since_.push_back(std::move(change));
}

void Disk::add_file(const Event& event, bool folder) {
  const auto id = static_cast<Id>(files_.size());
  files_.push_back({.folder = folder, .fixed = {}, .since = {}, .all = {}});
  of_inode_[event.inode] = id;
  change_names({.sets = {{place_of(event.name), id}}});
}

void Disk::add_part(const Event& event) {
  File& file = files_[static_cast<size_t>(of_inode_.at(event.inode))];
  file.since.push_back(
      {.place = event.place, .data = event.data, .truncates = event.change == Change::truncate});
  file.all.reset();
}

void Disk::sync(Id id) {
  File& file = files_[static_cast<size_t>(id)];
  if (file.folder) {
    for (NameChange& change : since_) {
      change.durable |= std::ranges::any_of(
          change.sets, [&](const auto& each) { return each.first.first == id; });
    }
    const auto fixed = std::ranges::find(since_, false, &NameChange::durable);
    for (auto each = since_.begin(); each != fixed; ++each) set(fixed_names_, *each);
    since_.erase(since_.begin(), fixed);
    return;
  }
  for (Part& part : file.since) part.durable = !part.lost;
  if (std::ranges::any_of(file.since, &Part::lost)) return;
  std::mt19937_64 none;
  file.fixed = contents(file, Data::none, none);
  file.since.clear();
}

void Disk::lose(Id id) {
  for (Part& part : files_[static_cast<size_t>(id)].since) part.lost |= !part.durable;
}

void Disk::rename(const std::string& from, const std::string& to) {
  const Id id = find(from);
  const auto there = names_.find(place_of(to));
  if (there != names_.end() && there->second == id) return;  // two names of one file
  change_names({.sets = {{place_of(from), 0}, {place_of(to), id}}, .goes = id});
}

void Disk::apply(const Event& event) {
  switch (event.change) {
    case Change::root:
      of_inode_[event.inode] = 1;
      break;
    case Change::create:
    case Change::mkdir:
      add_file(event, event.change == Change::mkdir);
      break;
    case Change::write:
    case Change::truncate:
      add_part(event);
      break;
    case Change::sync:
      sync(of_inode_.at(event.inode));
      break;
    case Change::unsynced:
      lose(of_inode_.at(event.inode));
      break;
    case Change::rename:
      rename(event.name, event.other);
      break;
    case Change::link:
      change_names({.sets = {{place_of(event.other), find(event.name)}}});
      break;
    case Change::unlink:
    case Change::rmdir:
      change_names({.sets = {{place_of(event.name), 0}}, .goes = find(event.name)});
      break;
    case Change::said:
      break;
  }
}

std::string Disk::contents(const File& file, Data data, std::mt19937_64& random) const {
  std::string bytes = file.fixed;
  const bool zeros = data == Data::zeros || (data == Data::drawn && happens(random, 30));
  for (const Part& part : file.since) {
    bool whole = part.durable || data == Data::all;
    if (!whole && data == Data::drawn) whole = happens(random, 50);
    if (part.truncates) {
      if (whole) bytes.resize(static_cast<size_t>(part.place), '\0');
      continue;
    }
    if (whole) {
      put(bytes, part.place, part.data);
      continue;
    }
    const auto end = static_cast<size_t>(part.place) + part.data.size();
    if (zeros && bytes.size() < end) bytes.resize(end, '\0');
    if (data == Data::drawn && happens(random, 40)) {  // torn
      const auto sectors = static_cast<uint64_t>(part.data.size() / sector + 1);
      put(bytes, part.place, part.data.substr(0, random() % sectors * sector));
    }
  }
  return bytes;
}

Disk::NameMap Disk::drawn_names(Names names, std::mt19937_64& random) const {
  NameMap drawn = fixed_names_;
  const size_t first = since_.empty() ? 0 : random() % (since_.size() + 1);
  const int percent = std::array{20, 50, 80}[random() % 3];
  for (size_t i = 0; i < since_.size(); ++i) {
    const bool happened = since_[i].durable || names == Names::all ||
                          (names == Names::first && i < first) ||
                          (names == Names::drawn && happens(random, percent));
    if (happened) set(drawn, since_[i]);
  }
  return drawn;
}

template <class ContentOf>
Image Disk::image_of(const NameMap& names, const ContentOf& content) const {
  Image image;
  std::vector<std::pair<Id, std::string>> folders = {{1, ""}};
  while (!folders.empty()) {
    const auto [folder, above] = folders.back();
    folders.pop_back();
    for (auto it = names.lower_bound({folder, ""}); it != names.end() && it->first.first == folder;
         ++it) {
      const File& file = files_[static_cast<size_t>(it->second)];
      const std::string name = above + it->first.second;
      image[name] = file.folder ? nullptr : content(file);
      if (file.folder) folders.emplace_back(it->second, name + "/");
    }
  }
  return image;
}

Image Disk::now() const {
  std::mt19937_64 none;
  return image_of(names_, [&](const File& file) {
    if (!file.all) file.all = std::make_shared<Content>(contents(file, Data::all, none));
    return file.all;
  });
}

Image Disk::behind_cut(const Loss& loss, std::mt19937_64& random) const {
  return image_of(drawn_names(loss.names, random), [&](const File& file) {
    if (file.since.empty() || loss.data == Data::all) {
      if (!file.all) file.all = std::make_shared<Content>(contents(file, Data::all, random));
      return file.all;
    }
    return std::shared_ptr<const Content>(
        std::make_shared<Content>(contents(file, loss.data, random)));
  });
}

}  // namespace switchyard::test
