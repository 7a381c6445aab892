#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/faults/trace.h"

namespace switchyard::test {

// A file's bytes, and a hash of them.
struct Content {
  explicit Content(std::string all);
  std::string bytes;
  uint64_t hash = 0;
};
// What a folder holds: files by name; null is a folder.
using Image = std::map<std::string, std::shared_ptr<const Content>>;
void write_image(const Image& image, const std::string& below, const std::filesystem::path& to);

// What becomes of changes that no fsync has fixed when the power goes.
enum class Names : uint8_t { all, none, first, drawn };  // first: up to a drawn one, in order
enum class Data : uint8_t { all, none, zeros, drawn };   // zeros: files are long, but empty
struct Loss {
  Names names = Names::all;
  Data data = Data::all;
};

// A disk as POSIX promises it and no better: data of a file are there when its fsync has ended,
// and names when that of their folder has; before, each change may or may not have happened, in
// any order. A rename is one change, also between two folders. An fsync that failed fixes nothing,
// nor do later ones what it should have.
class Disk {
 public:
  void apply(const Event& event);
  // Everything, as a process that is killed leaves it.
  Image now() const;
  Image behind_cut(const Loss& loss, std::mt19937_64& random) const;

 private:
  using Id = int64_t;  // of a file or folder, never used twice; 0: none
  struct Part {        // of a file that was written or, without data, cut or lengthened
    int64_t place = 0;
    std::string_view data{};
    bool truncates = false, durable = false, lost = false;
  };
  struct File {
    bool folder = false;
    std::string fixed;  // on the disk
    std::vector<Part> since;
    mutable std::shared_ptr<const Content> all;  // as programs see it
  };
  using Place = std::pair<Id, std::string>;  // a name in a folder
  struct NameChange {
    std::vector<std::pair<Place, Id>> sets;  // 0: the name goes
    Id goes = 0;                             // where the name that goes still means it
    bool durable = false;
  };
  using NameMap = std::map<Place, Id>;

  static void set(NameMap& names, const NameChange& change);
  void change_names(NameChange change);
  void add_file(const Event& event, bool folder);
  void add_part(const Event& event);
  void sync(Id id);
  void lose(Id id);
  void rename(const std::string& from, const std::string& to);
  Place place_of(const std::string& name) const;
  Id find(const std::string& name) const;
  std::string contents(const File& file, Data data, std::mt19937_64& random) const;
  NameMap drawn_names(Names names, std::mt19937_64& random) const;
  template <class ContentOf>
  Image image_of(const NameMap& names, const ContentOf& content) const;

  std::map<uint64_t, Id> of_inode_;
  std::vector<File> files_{{}, {.folder = true, .fixed = {}, .since = {}, .all = {}}};  // 1: root
  NameMap names_, fixed_names_;
  std::vector<NameChange> since_;  // changes that fixed_names_ lacks
};

}  // namespace switchyard::test
