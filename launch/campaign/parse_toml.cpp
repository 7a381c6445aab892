// The only source that knows the library: a file of it compiles slowly.
#include <toml++/toml.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "launch/campaign/file_node.h"
#include "launch/path/options.h"

namespace switchyard {

namespace {

class Reader {
 public:
  explicit Reader(std::string file) : file_(std::move(file)) {}

  FileNode read(const toml::node& from, const std::string& key) const {
    FileNode node;
    node.place = fmt::format("{}:{}: {}", file_, from.source().begin.line, key);
    if (const auto* table = from.as_table()) {
      read_table(*table, key, node);
    } else if (const auto* list = from.as_array()) {
      node.kind = FileNode::Kind::list;
      for (size_t i = 0; i < list->size(); ++i)
        node.items.push_back(read(list->at(i), fmt::format("{}[{}]", key, i + 1)));
    } else {
      read_scalar(from, node);
    }
    return node;
  }

 private:
  void read_table(const toml::table& from, const std::string& key, FileNode& node) const {
    std::vector<std::pair<toml::source_position, std::string>> order;
    for (const auto& [name, value] : from)
      order.emplace_back(value.source().begin, std::string(name.str()));
    std::ranges::sort(order, [](const auto& a, const auto& b) { return a.first < b.first; });
    for (const auto& each : order) {
      const std::string& name = each.second;
      const std::string full = key.empty() ? name : fmt::format("{}.{}", key, name);
      node.entries.push_back({name, read(*from.get(name), full)});
    }
  }

  static void read_scalar(const toml::node& from, FileNode& node) {
    using Kind = FileNode::Kind;
    if (const auto* text = from.as_string()) {
      node.kind = Kind::text;
      node.text = text->get();
    } else if (const auto* whole = from.as_integer()) {
      node.kind = Kind::integer;
      node.text = std::to_string(whole->get());
    } else if (const auto* number = from.as_floating_point()) {
      check(std::isfinite(number->get()), "campaign", "{} = {}; a finite number is allowed",
            node.place, number->get());
      node.kind = Kind::real;
      node.text = canonical_real(number->get());
    } else if (const auto* truth = from.as_boolean()) {
      node.kind = Kind::flag;
      node.text = truth->get() ? "true" : "false";
    } else {
      fail("campaign", "{} is a date or a time; texts, numbers, true and false are allowed",
           node.place);
    }
  }

  std::string file_;
};

}  // namespace

FileNode parse_toml(const std::string& text, const std::filesystem::path& file) {
  try {
    return Reader(file.string()).read(toml::parse(text, file.string()), "");
  } catch (const toml::parse_error& problem) {
    fail("campaign", "{}:{}: {}", file.string(), problem.source().begin.line,
         problem.description());
  }
}

}  // namespace switchyard
