#include "parallel/checkpoint/list_elements.h"

#include <utility>

#include "core/error.h"

namespace switchyard {

namespace {

using Take = std::function<void(const std::string& list, const Json& element)>;

class ListElements final : public JsonEvents {
 public:
  explicit ListElements(const Take& take) : take_(take) {}

  Json root;
  std::string problem;

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(number_integer_t value) override { return put(value); }
  bool number_unsigned(number_unsigned_t value) override { return put(value); }
  bool number_float(number_float_t value, const string_t&) override { return put(value); }
  bool string(string_t& value) override { return put(std::move(value)); }
  bool binary(binary_t&) override { return false; }  // of other formats
  bool key(string_t& name) override {
    key_ = std::move(name);
    return true;
  }
  bool start_object(size_t) override { return open(Json::object()); }
  bool start_array(size_t) override {
    if (around_.size() == 1) list_ = key_;
    return open(Json::array());
  }
  bool end_array() override {
    around_.pop_back();
    return true;
  }
  bool end_object() override {
    around_.pop_back();
    if (around_.size() != 2 || !around_[1]->is_array()) return true;
    take_(list_, around_[1]->back());
    around_[1]->clear();
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) override {
    problem = error.what();
    return false;
  }

 private:
  Json& add(Json value) {
    if (around_.empty()) return root = std::move(value);
    Json& parent = *around_.back();
    if (!parent.is_array()) return parent[key_] = std::move(value);
    parent.push_back(std::move(value));
    return parent.back();
  }
  bool put(Json value) {
    add(std::move(value));
    return true;
  }
  bool open(Json value) {
    around_.push_back(&add(std::move(value)));
    return true;
  }

  const Take& take_;
  std::vector<Json*> around_;  // those that are not closed; what lies around one does not change
  std::string key_, list_;
};

}  // namespace

Json take_list_elements(std::string_view text, const Take& take) {
  ListElements elements(take);
  const bool ok = parse_json(text, elements);
  check(ok, "checkpoint", "the index of the checkpoint cannot be read: {}", elements.problem);
  return std::move(elements.root);
}

}  // namespace switchyard
