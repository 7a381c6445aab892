#include "parallel/checkpoint/safetensors_index.h"

#include <set>
#include <utility>

#include "core/error.h"
#include "parallel/checkpoint/strict_json.h"

namespace switchyard {

namespace {

constexpr const char* where = "safetensors";
constexpr int deepest_metadata = 32;

class IndexEvents : public StrictEvents {
 public:
  explicit IndexEvents(std::string name) : name_(std::move(name)) {}
  std::map<std::string, std::string> file_of;
  bool has_map = false;

  bool null() override { return place_ == Place::skipped || StrictEvents::null(); }
  bool boolean(bool value) override {
    return place_ == Place::skipped || StrictEvents::boolean(value);
  }
  bool number_integer(number_integer_t value) override {
    return place_ == Place::skipped || StrictEvents::number_integer(value);
  }
  bool number_unsigned(number_unsigned_t value) override {
    return place_ == Place::skipped || StrictEvents::number_unsigned(value);
  }
  bool number_float(number_float_t value, const string_t& digits) override {
    return place_ == Place::skipped || StrictEvents::number_float(value, digits);
  }
  bool string(string_t& value) override;
  bool start_object(size_t) override;
  bool start_array(size_t) override;
  bool key(string_t& name) override;
  bool end_object() override;
  bool end_array() override;

 protected:
  bool unexpected(const std::string& what) override;

 private:
  enum class Place : uint8_t { start, names, metadata, skipped, map, tensor, file };
  bool deeper();
  bool back();
  void begin_name(const std::string& name);
  void begin_tensor(const std::string& name);

  std::string name_;
  Place place_ = Place::start;
  bool has_metadata_ = false;
  int depth_ = 0;  // within the metadata
  std::string tensor_;
};

bool IndexEvents::unexpected(const std::string& what) {
  switch (place_) {
    case Place::metadata:
      fail(where, "{}: metadata must be an object, not {}", name_, what);
    case Place::map:
      fail(where, "{}: weight_map must be an object, not {}", name_, what);
    case Place::file:
      fail(where, "{}: the file of tensor {} must be a string, not {}", name_, in_quotes(tensor_),
           what);
    default:
      fail(where, "{}: the index must be an object, not {}", name_, what);
  }
}

bool IndexEvents::deeper() {
  check(++depth_ <= deepest_metadata, where, "{}: metadata nests more than {} levels", name_,
        deepest_metadata);
  return true;
}

bool IndexEvents::back() {
  if (--depth_ == 0) place_ = Place::names;
  return true;
}

bool IndexEvents::start_array(size_t size) {
  return place_ == Place::skipped ? deeper() : StrictEvents::start_array(size);
}

bool IndexEvents::end_array() { return back(); }

bool IndexEvents::start_object(size_t size) {
  switch (place_) {
    case Place::start:
      place_ = Place::names;
      return true;
    case Place::map:
      place_ = Place::tensor;
      return true;
    case Place::metadata:
      place_ = Place::skipped;
      return deeper();
    case Place::skipped:
      return deeper();
    default:
      return StrictEvents::start_object(size);
  }
}

bool IndexEvents::end_object() {
  if (place_ == Place::skipped) return back();
  place_ = Place::names;
  return true;
}

bool IndexEvents::key(string_t& name) {
  if (place_ == Place::names) begin_name(name);
  if (place_ == Place::tensor) begin_tensor(name);
  return true;
}

void IndexEvents::begin_name(const std::string& name) {
  const bool map = name == "weight_map";
  if (!map && name != "metadata") {
    fail(where, "{}: {} is not known; weight_map and metadata are", name_, in_quotes(name));
  }
  bool& had = map ? has_map : has_metadata_;
  check(!std::exchange(had, true), where, "{}: {} is there twice", name_, name);
  place_ = map ? Place::map : Place::metadata;
}

void IndexEvents::begin_tensor(const std::string& name) {
  check(!name.empty(), where, "{}: a tensor's name is empty", name_);
  if (file_of.contains(name)) fail(where, "{}: tensor {} is there twice", name_, in_quotes(name));
  tensor_ = name;
  place_ = Place::file;
}

// Names of files lie in the index's folder: nothing else may be read through an index.
bool IndexEvents::string(string_t& value) {
  if (place_ == Place::skipped) return true;
  if (place_ != Place::file) return StrictEvents::string(value);
  const bool plain = !value.empty() && value != "." && value != ".." &&
                     value.find_first_of(std::string_view("/\0", 2)) == std::string::npos;
  if (!plain) {
    fail(where, "{}: tensor {} is in the file {}; only names of files beside the index are allowed",
         name_, in_quotes(tensor_), in_quotes(value));
  }
  file_of[tensor_] = std::move(value);
  place_ = Place::tensor;
  return true;
}

}  // namespace

SafetensorsIndex parse_safetensors_index(std::string_view text, const std::string& name) {
  IndexEvents events(name);
  events.read(text, name);
  check(events.has_map, where, "{}: the index has no weight_map", name);
  check(!events.file_of.empty(), where, "{}: weight_map names no tensor", name);
  std::map<std::string, size_t> numbers;
  for (const auto& [tensor, file] : events.file_of) numbers[file];
  SafetensorsIndex index;
  index.files.reserve(numbers.size());
  for (auto& [file, number] : numbers) {
    number = index.files.size();
    index.files.push_back(file);
  }
  for (const auto& [tensor, file] : events.file_of) index.file_of[tensor] = numbers.at(file);
  return index;
}

void check_against_index(const SafetensorsIndex& index,
                         const std::vector<SafetensorsEntry>& tensors, const std::string& folder) {
  std::set<std::string_view> found;
  for (const SafetensorsEntry& tensor : tensors) {
    const auto expected = index.file_of.find(tensor.name);
    const std::string& file = index.files[tensor.file];
    if (expected == index.file_of.end()) {
      fail(where, "{}: tensor {} is in {}, but not in {}", folder, in_quotes(tensor.name), file,
           index_name);
    }
    if (expected->second != tensor.file) {
      fail(where, "{}: tensor {} is in {}; {} says that it is in {}", folder,
           in_quotes(tensor.name), file, index_name, index.files[expected->second]);
    }
    found.insert(tensor.name);
  }
  for (const auto& [name, file] : index.file_of) {
    if (found.contains(name)) continue;
    fail(where, "{}: tensor {} is not in {}, where {} says it is", folder, in_quotes(name),
         index.files[file], index_name);
  }
}

}  // namespace switchyard
