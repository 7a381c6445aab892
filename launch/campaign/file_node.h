#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace switchyard {

struct FileEntry;

// A value of a TOML file and where it stands.
struct FileNode {
  enum class Kind : uint8_t { text, integer, real, flag, list, table };
  Kind kind = Kind::table;
  std::string place;  // "FILE:LINE: KEY", the beginning of an error about it
  std::string text;   // of a scalar: as Settings takes it
  std::vector<FileNode> items;
  std::vector<FileEntry> entries;  // of a table, in the file's order

  // The entry, or nothing. Those that were asked for are known (check_known).
  const FileNode* find(std::string_view key) const;
  // Throw Error where the value is of another kind.
  int64_t integer() const;
  double real() const;
  const std::string& word() const;
  bool flag() const;
  const std::vector<FileEntry>& table() const;
  std::vector<std::string> words() const;  // of a scalar or a list of scalars
  std::vector<double> reals() const;       // likewise
  std::vector<int64_t> integers() const;   // likewise
  std::string show() const;                // the value, for errors
  // Refuses entries that are none of `names`, naming the nearest.
  void check_known(const std::vector<std::string>& names) const;
};

struct FileEntry {
  std::string name;
  FileNode node;
};

// Throws Error with file and line for a text that is no TOML.
FileNode parse_toml(const std::string& text, const std::filesystem::path& file);

}  // namespace switchyard
