#include "parallel/checkpoint/safetensors_events.h"

#include <array>
#include <limits>
#include <utility>

#include "core/error.h"
#include "parallel/checkpoint/safetensors_dtypes.h"

namespace switchyard {

namespace {

constexpr const char* where = "safetensors";
constexpr std::array<std::string_view, 3> field_names = {"dtype", "shape", "data_offsets"};
constexpr size_t most_axes = 64;

}  // namespace

std::string SafetensorsEvents::place_text() const {
  const std::string name = in_quotes(tensor_.name);
  switch (place_) {
    case Place::header:
      return "the header must be an object";
    case Place::metadata:
      return "__metadata__ must be an object";
    case Place::metadata_text:
      return fmt::format("{} of __metadata__ must be a string", in_quotes(metadata_key_));
    case Place::tensor:
      return fmt::format("tensor {} must be an object", name);
    case Place::dtype:
      return fmt::format("the dtype of tensor {} must be a string", name);
    case Place::shape:
      return fmt::format("the shape of tensor {} must be a list", name);
    case Place::axis:
      return fmt::format("the axes of tensor {} must be whole numbers from 0 to 2^63 - 1", name);
    case Place::offsets:
      return fmt::format("the data_offsets of tensor {} must be a list", name);
    case Place::offset:
      return fmt::format(
          "the data_offsets of tensor {} must be two whole numbers from 0 to 2^63 - 1", name);
    default:
      return "a name must follow";
  }
}

bool SafetensorsEvents::unexpected(const std::string& what) {
  fail(where, "{}: {}, not {}", file_, place_text(), what);
}

bool SafetensorsEvents::number_unsigned(number_unsigned_t value) {
  const bool fits = value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  if (!fits || (place_ != Place::axis && place_ != Place::offset)) {
    return StrictEvents::number_unsigned(value);
  }
  std::vector<int64_t>& numbers = place_ == Place::axis ? tensor_.shape : offsets_;
  const size_t most = place_ == Place::axis ? most_axes : 2;
  if (numbers.size() == most) {
    fail(where, "{}: tensor {} has more than {} {}", file_, in_quotes(tensor_.name), most,
         place_ == Place::axis ? "axes" : "data_offsets");
  }
  numbers.push_back(static_cast<int64_t>(value));
  return true;
}

bool SafetensorsEvents::string(string_t& value) {
  if (place_ == Place::metadata_text) {
    header.metadata[metadata_key_] = std::move(value);
    place_ = Place::metadata_key;
  } else if (place_ == Place::dtype) {
    tensor_.dtype = std::move(value);
    place_ = Place::field;
  } else {
    return StrictEvents::string(value);
  }
  return true;
}

bool SafetensorsEvents::start_object(size_t size) {
  if (place_ == Place::header) {
    place_ = Place::name;
  } else if (place_ == Place::metadata) {
    place_ = Place::metadata_key;
  } else if (place_ == Place::tensor) {
    place_ = Place::field;
  } else {
    return StrictEvents::start_object(size);
  }
  return true;
}

bool SafetensorsEvents::start_array(size_t size) {
  if (place_ == Place::shape) {
    place_ = Place::axis;
  } else if (place_ == Place::offsets) {
    place_ = Place::offset;
  } else {
    return StrictEvents::start_array(size);
  }
  return true;
}

bool SafetensorsEvents::key(string_t& name) {
  if (place_ == Place::name) {
    begin_name(name);
  } else if (place_ == Place::field) {
    begin_field(name);
  } else {
    if (header.metadata.contains(name)) {
      fail(where, "{}: __metadata__ has {} twice", file_, in_quotes(name));
    }
    metadata_key_ = name;
    place_ = Place::metadata_text;
  }
  return true;
}

void SafetensorsEvents::begin_name(const std::string& name) {
  check(!name.empty(), where, "{}: a tensor's name is empty", file_);
  if (name.find('\0') != std::string::npos) {
    fail(where, "{}: the name {} has a NUL", file_, in_quotes(name));
  }
  if (!names_.insert(name).second) fail(where, "{}: {} is there twice", file_, in_quotes(name));
  tensor_ = SafetensorsEntry();
  tensor_.name = name;
  offsets_.clear();
  fields_ = 0;
  place_ = name == "__metadata__" ? Place::metadata : Place::tensor;
}

void SafetensorsEvents::begin_field(const std::string& field) {
  constexpr std::array places = {Place::dtype, Place::shape, Place::offsets};
  for (size_t i = 0; i < field_names.size(); ++i) {
    if (field != field_names[i]) continue;
    if ((fields_ & 1U << i) != 0) {
      fail(where, "{}: tensor {} has {} twice", file_, in_quotes(tensor_.name), field);
    }
    fields_ |= 1U << i;
    place_ = places[i];
    return;
  }
  fail(where, "{}: tensor {} has {}; dtype, shape and data_offsets are known", file_,
       in_quotes(tensor_.name), in_quotes(field));
}

bool SafetensorsEvents::end_object() {
  if (place_ == Place::field) end_tensor();
  place_ = Place::name;
  return true;
}

bool SafetensorsEvents::end_array() {
  place_ = Place::field;
  return true;
}

void SafetensorsEvents::end_tensor() {
  for (size_t i = 0; i < field_names.size(); ++i) {
    if ((fields_ & 1U << i) != 0) continue;
    fail(where, "{}: tensor {} has no {}", file_, in_quotes(tensor_.name), field_names[i]);
  }
  if (offsets_.size() != 2) {
    fail(where, "{}: tensor {} must have two data_offsets, not {}", file_, in_quotes(tensor_.name),
         offsets_.size());
  }
  const int64_t begin = offsets_[0];
  const int64_t end = offsets_[1];
  if (begin > end) {
    fail(where, "{}: tensor {} begins at byte {}, behind its end at {}", file_,
         in_quotes(tensor_.name), begin, end);
  }
  tensor_.bytes = checked_bytes(tensor_, file_);
  if (tensor_.bytes != end - begin) {
    fail(where, "{}: tensor {} of {} {} needs {} bytes, but its data_offsets [{}, {}] have {}",
         file_, in_quotes(tensor_.name), tensor_.dtype, shape_text(tensor_), tensor_.bytes, begin,
         end, end - begin);
  }
  tensor_.offset = begin;
  header.tensors.push_back(std::move(tensor_));
}

}  // namespace switchyard
