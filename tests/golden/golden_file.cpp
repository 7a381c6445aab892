#include "tests/golden/golden_file.h"

#include <hdf5.h>

#include "core/error.h"

namespace switchyard::test {

namespace {

// An open HDF5 object, closed at the end of its scope.
class Object {
 public:
  Object(hid_t id, herr_t (*close)(hid_t), const std::string& name) : id_(id), close_(close) {
    check(id >= 0, "golden", "'{}' cannot be opened", name);
  }
  ~Object() { close_(id_); }
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  operator hid_t() const { return id_; }  // NOLINT(google-explicit-constructor)

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

std::vector<hsize_t> extents_of(hid_t dataset) {
  const Object space(H5Dget_space(dataset), H5Sclose, "space");
  std::vector<hsize_t> extents(static_cast<size_t>(H5Sget_simple_extent_ndims(space)));
  H5Sget_simple_extent_dims(space, extents.data(), nullptr);
  return extents;
}

template <class T>
std::vector<T> read(hid_t parent, const std::string& name, hid_t type) {
  const Object dataset(H5Dopen2(parent, name.c_str(), H5P_DEFAULT), H5Dclose, name);
  size_t count = 1;
  for (const hsize_t extent : extents_of(dataset)) count *= extent;
  std::vector<T> values(count);
  const herr_t status = H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
  check(status >= 0, "golden", "'{}' cannot be read", name);
  return values;
}

std::string read_string(hid_t file, const std::string& name) {
  const Object dataset(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose, name);
  const Object type(H5Dget_type(dataset), H5Tclose, name);
  char* text = nullptr;
  const herr_t status = H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, &text);
  check(status >= 0 && text != nullptr, "golden", "'{}' cannot be read", name);
  std::string result = text;
  H5free_memory(text);
  return result;
}

template <class Visit>
void visit_names(hid_t file, const std::string& name, const Visit& visit) {
  const Object group(H5Gopen2(file, name.c_str(), H5P_DEFAULT), H5Gclose, name);
  const auto callback = [](hid_t parent, const char* link, const H5L_info_t*, void* data) {
    (*static_cast<const Visit*>(data))(parent, std::string(link));
    return herr_t{0};
  };
  H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, nullptr, callback,
             const_cast<void*>(static_cast<const void*>(&visit)));
}

}  // namespace

GoldenFile read_golden(const std::string& path) {
  const Object file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose, path);
  GoldenFile golden;
  golden.config = read_string(file, "config");
  visit_names(file, "optimizer", [&](hid_t group, const std::string& name) {
    golden.optimizer[name] = read<double>(group, name, H5T_NATIVE_DOUBLE).at(0);
  });
  visit_names(file, "weights", [&](hid_t group, const std::string& name) {
    golden.weights[name] = read<float>(group, name, H5T_NATIVE_FLOAT);
  });
  golden.losses = read<double>(file, "losses", H5T_NATIVE_DOUBLE);
  golden.tokens = read<int32_t>(file, "tokens", H5T_NATIVE_INT32);
  const Object tokens(H5Dopen2(file, "tokens", H5P_DEFAULT), H5Dclose, "tokens");
  const std::vector<hsize_t> extents = extents_of(tokens);
  golden.steps = static_cast<int64_t>(extents.at(0));
  golden.batch = static_cast<int64_t>(extents.at(1));
  golden.length = static_cast<int64_t>(extents.at(2)) - 1;
  return golden;
}

}  // namespace switchyard::test
