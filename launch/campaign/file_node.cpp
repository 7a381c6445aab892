#include "launch/campaign/file_node.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.h"
#include "core/text.h"
#include "launch/path/option_hints.h"

namespace switchyard {

namespace {

bool is_scalar(const FileNode& node) {
  return node.kind != FileNode::Kind::list && node.kind != FileNode::Kind::table;
}

[[noreturn]] void refuse(const FileNode& node, std::string_view allowed) {
  const std::string value = node.kind == FileNode::Kind::table ? "a table" : node.show();
  fail("campaign", "{} = {}; {} is allowed", node.place, value, allowed);
}

// A scalar as a list of one.
template <class T, class Get>
std::vector<T> all_of(const FileNode& node, const Get& get) {
  std::vector<T> all;
  if (is_scalar(node)) {
    all.push_back(get(node));
    return all;
  }
  if (node.kind == FileNode::Kind::table || node.items.empty()) refuse(node, "a value or a list");
  for (const auto& item : node.items) all.push_back(get(item));
  return all;
}

}  // namespace

const FileNode* FileNode::find(std::string_view key) const {
  const auto found = std::ranges::find(entries, key, &FileEntry::name);
  return found == entries.end() ? nullptr : &found->node;
}

int64_t FileNode::integer() const {
  if (kind != Kind::integer) refuse(*this, "a whole number");
  return *parse_number<int64_t>(text);
}

double FileNode::real() const {
  if (kind != Kind::integer && kind != Kind::real) refuse(*this, "a number");
  return *parse_number<double>(text);
}

const std::string& FileNode::word() const {
  if (kind != Kind::text) refuse(*this, "a text between quotes");
  return text;
}

bool FileNode::flag() const {
  if (kind != Kind::flag) refuse(*this, "true or false");
  return text == "true";
}

const std::vector<FileEntry>& FileNode::table() const {
  if (kind != Kind::table) refuse(*this, "a table");
  return entries;
}

std::vector<std::string> FileNode::words() const {
  return all_of<std::string>(*this, [](const FileNode& node) {
    if (!is_scalar(node)) refuse(node, "a text or a number");
    return node.text;
  });
}

std::vector<double> FileNode::reals() const {
  return all_of<double>(*this, [](const FileNode& node) { return node.real(); });
}

std::vector<int64_t> FileNode::integers() const {
  return all_of<int64_t>(*this, [](const FileNode& node) { return node.integer(); });
}

std::string FileNode::show() const {
  if (kind == Kind::text) return '"' + text + '"';
  if (is_scalar(*this)) return text;
  std::vector<std::string> parts;
  for (const auto& item : items) parts.push_back(item.show());
  for (const auto& [name, node] : entries)
    parts.push_back(fmt::format("{} = {}", name, node.show()));
  const std::string inner = fmt::format("{}", fmt::join(parts, ", "));
  return kind == Kind::list ? '[' + inner + ']' : '{' + inner + '}';
}

void FileNode::check_known(const std::vector<std::string>& names) const {
  for (const auto& [name, node] : table()) {
    if (std::ranges::find(names, name) != names.end()) continue;
    const std::string nearest = nearest_name(name, names);
    fail("campaign", "{}: this key is unknown; {}", node.place,
         nearest.empty() ? fmt::format("allowed here: {}", fmt::join(names, ", "))
                         : fmt::format("did you mean {}?", nearest));
  }
}

}  // namespace switchyard
