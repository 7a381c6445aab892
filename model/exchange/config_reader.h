#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"

// Private to model/exchange.
namespace switchyard {

// The values of one object of a config.json, by type. What is wrong is an Error that names the
// file, the key, its value and what is allowed.
class ConfigReader {
 public:
  // `object` and `remarks` must outlive it. A key that is `ignored` is not there for find().
  ConfigReader(const Json& object, std::string origin, std::set<std::string> ignored,
               std::vector<std::string>& remarks)
      : object_(object),
        origin_(std::move(origin)),
        ignored_(std::move(ignored)),
        remarks_(remarks) {}

  const std::string& origin() const { return origin_; }
  bool ignores(const std::string& key) const { return ignored_.contains(key); }
  bool has(const std::string& key) const;          // there, perhaps as a null
  const Json* find(const std::string& key) const;  // null: absent, or a null
  bool is_null(const std::string& key) const;      // there, and a null

  // Without `absent` a key must be there. A null is refused.
  int64_t whole(const std::string& key, int64_t low, int64_t high,
                std::optional<int64_t> absent = {}) const;
  double real(const std::string& key, std::optional<double> absent = {}) const;  // finite
  bool flag(const std::string& key, bool absent) const;
  std::string text(const std::string& key, std::optional<std::string> absent = {}) const;
  // Of an object within this one, which must be there; its keys are named as "rope_scaling.factor".
  ConfigReader inside(const std::string& key) const;
  std::vector<std::string> keys() const;

  [[noreturn]] void refuse(const std::string& key, std::string_view allowed) const;
  std::string quoted(const std::string& key) const;  // "'rope_scaling.factor' is 8.0"
  void remark(std::string text) const { remarks_.push_back(std::move(text)); }

 private:
  const Json* given(const std::string& key, bool optional) const;

  const Json& object_;
  std::string origin_, prefix_;
  std::set<std::string> ignored_;
  std::vector<std::string>& remarks_;
};

std::string short_text(const Json& value);  // for errors: at most 60 characters of it

}  // namespace switchyard
