#include "tools/tensor_tree.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <span>

#include "core/error.h"
#include "parallel/checkpoint/index.h"

namespace switchyard {

namespace {

struct Leaf {
  const StoredTensor* tensor;
  std::string stored;  // name that the elements are stored under
  TensorStatistics statistics;
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// layers.9 before layers.10.
bool comes_before(const std::string& a, const std::string& b) {
  const auto digits_end = [](const std::string& text, size_t at) {
    return std::min(text.find_first_not_of("0123456789", at), text.size());
  };
  size_t i = 0;
  while (i < a.size() && i < b.size()) {
    if (is_digit(a[i]) && is_digit(b[i])) {
      const size_t a_end = digits_end(a, i), b_end = digits_end(b, i);
      if (a_end != b_end) return a_end < b_end;
    }
    if (a[i] != b[i]) return a[i] < b[i];
    ++i;
  }
  return a.size() < b.size();
}

bool lies_under(const std::string& name, const std::string& under) {
  if (under.empty() || name == under) return true;
  return name.size() > under.size() && name.starts_with(under) &&
         (name[under.size()] == '/' || name[under.size()] == '.');
}

std::vector<Leaf> leaves_of(const CheckpointReader& reader, const std::string& under) {
  std::vector<Leaf> leaves;
  for (const IndexedTensor& entry : reader.index().tensors) {
    const auto add = [&](const std::string& name) {
      if (lies_under(name, under)) leaves.push_back({reader.find(name), entry.tensor.name, {}});
    };
    add(entry.tensor.name);
    for (const std::string& alias : entry.aliases) add(alias);
  }
  std::ranges::sort(leaves, comes_before, [](const Leaf& leaf) { return leaf.tensor->name; });
  return leaves;
}

// What is stored once is read once.
void measure_all(const CheckpointReader& reader, std::vector<Leaf>& leaves,
                 const std::function<void(int64_t bytes)>& progress) {
  std::map<std::string, TensorStatistics> found;
  for (const Leaf& leaf : leaves) found[leaf.stored];
  std::vector<std::string> names;
  names.reserve(found.size());
  for (const auto& [name, statistics] : found) names.push_back(name);
  const auto measured = measure(reader, names, progress);
  for (size_t i = 0; i < names.size(); ++i) found[names[i]] = measured[i];
  for (Leaf& leaf : leaves) leaf.statistics = found[leaf.stored];
}

void sum_up(std::span<const Leaf> leaves, TensorTree& node) {
  std::set<std::string_view> counted;
  for (const Leaf& leaf : leaves) {
    ++node.tensors;
    if (!counted.insert(leaf.stored).second) continue;
    node.bytes += leaf.tensor->shape.elements() * size_of(leaf.tensor->dtype);
    node.statistics.add(leaf.statistics);
  }
}

// The tree of leaves whose names have the first `length` characters in common, which end a part.
TensorTree tree_of(std::span<const Leaf> leaves, size_t length) {
  TensorTree node{leaves.front().tensor->name.substr(0, length)};
  sum_up(leaves, node);
  const auto end_of_part = [length](const Leaf& leaf) {
    const std::string& name = leaf.tensor->name;
    return std::min(name.find_first_of("/.", length + 1), name.size());
  };
  for (size_t begin = 0, end = 0; begin < leaves.size(); begin = end) {
    const std::string& name = leaves[begin].tensor->name;
    const size_t part = end_of_part(leaves[begin]);
    const auto is_same = [&](const Leaf& leaf) {
      return end_of_part(leaf) == part && leaf.tensor->name.compare(0, part, name, 0, part) == 0 &&
             (leaf.tensor->name.size() == part) == (name.size() == part);
    };
    for (end = begin + 1; end < leaves.size() && is_same(leaves[end]);) ++end;
    const auto members = leaves.subspan(begin, end - begin);
    if (name.size() > part) {
      node.children.push_back(tree_of(members, part));
      continue;
    }
    const Leaf& leaf = members.front();
    TensorTree& child = node.children.emplace_back(TensorTree{name, leaf.tensor});
    if (leaf.stored != name) child.same_as = leaf.stored;
    sum_up(members, child);
  }
  if (node.children.size() > 1) return node;
  TensorTree only = std::move(node.children.front());
  return only;
}

void add_number(Json& object, const char* key, double value, const TensorTree& node) {
  const bool is_integer = node.tensor != nullptr && node.tensor->dtype >= DType::i32;
  if (!node.statistics.has_finite()) {
    object[key] = nullptr;
  } else if (is_integer && std::abs(value) < 0x1p53) {
    object[key] = static_cast<int64_t>(value);
  } else {
    object[key] = value;
  }
}

struct Columns {
  size_t name = 0, form = 0;
};

std::string label_of(const TensorTree& node, size_t parent) {
  if (parent == 0) return node.name;
  return node.name.substr(node.name[parent] == '/' || node.name[parent] == '.' ? parent + 1
                                                                               : parent);
}

std::string form_of(const TensorTree& node) {
  if (node.tensor == nullptr) return fmt::format("{} tensors", node.tensors);
  return fmt::format("{} {}", node.tensor->shape.to_string(), name_of(node.tensor->dtype));
}

// Calls visit(node, label) for each, parents first.
template <class Visit>
void walk(const TensorTree& node, size_t depth, size_t parent, const Visit& visit) {
  visit(node, std::string(2 * depth, ' ') + label_of(node, parent));
  const size_t own = node.name == "/" ? 0 : node.name.size();
  for (const TensorTree& child : node.children) walk(child, depth + 1, own, visit);
}

}  // namespace

TensorTree tensor_tree(const CheckpointReader& reader, const std::string& under,
                       const std::function<void(int64_t bytes)>& progress) {
  std::string name = under.empty() || under.front() == '/' ? under : "/" + under;
  while (name.ends_with('/')) name.pop_back();
  auto leaves = leaves_of(reader, name);
  check(!leaves.empty(), "inspect",
        "--under {}: no tensor of step {} has this name or lies in a group of this name; "
        "'inspect --full' lists all tensors",
        under, reader.info().step);
  measure_all(reader, leaves, progress);
  TensorTree tree = tree_of(leaves, 0);
  if (tree.name.empty()) tree.name = "/";
  return tree;
}

Json to_json(const TensorTree& node) {
  Json object = {{"name", node.name}};
  if (node.tensor == nullptr) {
    object["tensors"] = node.tensors;
  } else {
    std::vector<int64_t> shape;
    shape.reserve(static_cast<size_t>(node.tensor->shape.rank()));
    for (int i = 0; i < node.tensor->shape.rank(); ++i) shape.push_back(node.tensor->shape[i]);
    object["shape"] = shape;
    object["dtype"] = name_of(node.tensor->dtype);
    if (!node.same_as.empty()) object["same_as"] = node.same_as;
  }
  const TensorStatistics& numbers = node.statistics;
  object["elements"] = numbers.elements;
  object["bytes"] = node.bytes;
  object["norm"] = numbers.norm();
  add_number(object, "min", numbers.min, node);
  add_number(object, "max", numbers.max, node);
  object["nan"] = numbers.nans;
  object["inf"] = numbers.infinities;
  if (node.tensor != nullptr) return object;
  Json children = Json::array();
  for (const TensorTree& child : node.children) children.push_back(to_json(child));
  object["children"] = std::move(children);
  return object;
}

std::vector<std::string> to_lines(const TensorTree& tree) {
  Columns columns{4, 5};
  walk(tree, 0, 0, [&](const TensorTree& node, const std::string& label) {
    columns.name = std::max(columns.name, label.size());
    columns.form = std::max(columns.form, form_of(node).size());
  });
  std::vector<std::string> lines;
  const auto add = [&](const std::string& name, const std::string& form, auto... others) {
    std::string line = fmt::format("{:<{}}  {:<{}}", name, columns.name, form, columns.form);
    ((line += fmt::format("  {:>11}", others)), ...);
    lines.push_back(std::move(line));
  };
  add("name", "shape", "elements", "MB", "norm", "min", "max", "NaN", "inf");
  walk(tree, 0, 0, [&](const TensorTree& node, const std::string& label) {
    const TensorStatistics& s = node.statistics;
    const auto finite = [&](double value) {
      return s.has_finite() ? fmt::format("{:.5g}", value) : std::string("none");
    };
    add(label, form_of(node), s.elements,
        fmt::format("{:.3f}", static_cast<double>(node.bytes) / 1e6),
        fmt::format("{:.6g}", s.norm()), finite(s.min), finite(s.max), s.nans, s.infinities);
    if (!node.same_as.empty()) lines.back() += "  is " + node.same_as;
  });
  return lines;
}

}  // namespace switchyard
