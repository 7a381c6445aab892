#include "parallel/checkpoint/hdf5_handles.h"

#include <fcntl.h>
#include <hdf5.h>
#include <unistd.h>
#include <xxhash.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

#include "core/files.h"
#include "core/stacks.h"
#include "core/text.h"

namespace switchyard {

std::string hdf5_version() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("{}.{}.{}", major, minor, release);
}

}  // namespace switchyard

namespace switchyard::hdf5 {

static_assert(std::is_same_v<hid_t, int64_t> && std::is_same_v<herr_t, int>);

namespace {

std::recursive_mutex library_mutex;

// Of this thread, one within the other; whose thread it is, as its own label is gone at an exit.
thread_local int sessions = 0;
thread_local std::array<char, 128> session_label{};

// The table of HDF5's identifiers (uthash) calls exit(-1) where it gets no memory.
void end_within_session() {
  if (sessions == 0) return;
  const bool labelled = session_label[0] != '\0';
  for (const char* part :
       {"switchyard: [checkpoint] HDF5 ended this process: it is given no more memory; what may "
        "limit it: the machine, its control group, 'ulimit -v'",
        labelled ? " (" : "", std::as_const(session_label).data(), labelled ? ")\n" : "\n"})
    switchyard::write_text(STDERR_FILENO, part);
  _exit(static_cast<int>(ExitCode::other));
}

bool prepare_library() {
  // Refused only when somebody else has asked for the same before.
  H5dont_atexit();
  check(H5open() >= 0, "checkpoint", "the HDF5 library cannot be started");
  hbool_t thread_safe = 0;
  return H5is_library_threadsafe(&thread_safe) >= 0 && thread_safe != 0;
}

struct Causes {
  std::string system;   // of the deepest entry that carries an errno
  std::string deepest;  // HDF5's own words
};

// HDF5's drivers put "errno = N, error message = '...'" into their descriptions.
herr_t collect_cause(unsigned, const H5E_error2_t* entry, void* result) {
  auto& causes = *static_cast<Causes*>(result);
  std::string_view text = entry->desc != nullptr ? entry->desc : "";
  if (causes.deepest.empty()) causes.deepest = text;
  static constexpr std::string_view key = "errno = ";
  const auto at = text.find(key);
  if (!causes.system.empty() || at == std::string::npos) return 0;
  text.remove_prefix(at + key.size());
  const int number = take_number<int>(text).value_or(0);
  if (number != 0) causes.system = std::strerror(number);
  return 0;
}

Id file_access() {
  Id access(require(H5Pcreate(H5P_FILE_ACCESS), "HDF5 gives no access properties"), H5Pclose);
  // The newest format of 1.10: its metadata carry checksums of their own.
  require(H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110),
          "HDF5 refuses the file format of version 1.10");
  // A finished file never changes, and file systems of clusters often have no locks.
  require(H5Pset_file_locking(access, false, true), "HDF5 refuses to work without file locks");
  return access;
}

Id text_type(size_t bytes) {
  Id type(require(H5Tcopy(H5T_C_S1), "HDF5 gives no string type"), H5Tclose);
  require(H5Tset_size(type, bytes > 0 ? bytes : 1), "HDF5 refuses a string of {} bytes", bytes);
  require(H5Tset_strpad(type, H5T_STR_NULLPAD), "HDF5 refuses padded strings");
  require(H5Tset_cset(type, H5T_CSET_UTF8), "HDF5 refuses UTF-8 strings");
  return type;
}

void write_attribute(const Id& object, const char* name, int64_t type, const Id& space,
                     const void* value) {
  Id attribute(require(H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT),
                       "cannot create attribute {}", name),
               H5Aclose);
  require(H5Awrite(attribute, type, value), "cannot write attribute {}", name);
  attribute.close(fmt::format("attribute {}", name));
}

Id open_attribute(const Id& object, const char* name) {
  return {require(H5Aopen(object, name, H5P_DEFAULT), "attribute {} is missing", name), H5Aclose};
}

template <class T>
T read_scalar_attribute(const Id& object, const char* name, int64_t type) {
  const Id attribute = open_attribute(object, name);
  const Id space(require(H5Aget_space(attribute), "attribute {} has no extent", name), H5Sclose);
  check(H5Sget_simple_extent_npoints(space) == 1, "checkpoint",
        "attribute {} has more than one value", name);
  T value{};
  require(H5Aread(attribute, type, &value), "cannot read attribute {}", name);
  return value;
}

// Without the padding; texts and identifiers never end in a NUL.
std::string without_padding(std::string text) {
  while (!text.empty() && text.back() == '\0') text.pop_back();
  return text;
}

}  // namespace

Session::Mark::Mark() {
  static const bool known = std::atexit(end_within_session) == 0;
  check(known, "checkpoint", "the system notes no function to call at an exit");
  if (sessions++ > 0) return;
  const std::string& label = thread_label();
  session_label[label.copy(session_label.data(), session_label.size() - 1)] = '\0';
}

Session::Mark::~Mark() { --sessions; }

Session::Session() {
  static const bool thread_safe = prepare_library();
  if (!thread_safe) lock_ = std::unique_lock(library_mutex);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

Id::Id(Id&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}

Id& Id::operator=(Id&& other) noexcept {
  if (this == &other) return *this;
  reset();
  id_ = std::exchange(other.id_, -1);
  close_ = other.close_;
  return *this;
}

void Id::close(const std::string& what) {
  if (id_ >= 0) require(close_(std::exchange(id_, -1)), "cannot close {}", what);
}

void Id::reset() {
  if (id_ >= 0) close_(std::exchange(id_, -1));
}

std::string last_error() {
  Causes causes;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, collect_cause, &causes);
  H5Eclear2(H5E_DEFAULT);
  if (!causes.system.empty()) return causes.system;
  return causes.deepest.empty() ? "HDF5 gives no reason" : "HDF5 says: " + causes.deepest;
}

Id untimed(int64_t kind) {
  Id creation(require(H5Pcreate(kind), "HDF5 gives no properties"), H5Pclose);
  require(H5Pset_obj_track_times(creation, false), "HDF5 insists on times");
  return creation;
}

Id create_file(const std::filesystem::path& path, int64_t least_aligned, int64_t alignment) {
  const Id access = file_access();
  require(H5Pset_alignment(access, static_cast<hsize_t>(least_aligned),
                           static_cast<hsize_t>(alignment)),
          "HDF5 refuses to align to {} bytes", alignment);
  return {require(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, untimed(H5P_FILE_CREATE), access),
                  "cannot create {}", path.string()),
          H5Fclose};
}

Id open_file(const std::filesystem::path& path) {
  return {require(H5Fopen(path.c_str(), H5F_ACC_RDONLY, file_access()), "cannot open {}",
                  path.string()),
          H5Fclose};
}

void flush_and_close(Id& file, const std::filesystem::path& path) {
  require(H5Fflush(file, H5F_SCOPE_GLOBAL), "cannot write {}", path.string());
  file.close(path.string());
}

void sync_and_close(Id& file, const std::filesystem::path& path) {
  require(H5Fflush(file, H5F_SCOPE_GLOBAL), "cannot write {}", path.string());
  void* descriptor = nullptr;
  require(H5Fget_vfd_handle(file, H5P_DEFAULT, &descriptor), "cannot reach the descriptor of {}",
          path.string());
  // Closing writes once more: that the file is not open any more, and where it ends.
  const Descriptor kept(fcntl(*static_cast<int*>(descriptor), F_DUPFD_CLOEXEC, 0));
  check(static_cast<bool>(kept), "checkpoint", "cannot write {} to the disk: {}", path.string(),
        std::strerror(errno));
  file.close(path.string());
  const bool synced = fsync(kept.number()) == 0;
  check(synced, "checkpoint", "cannot write {} to the disk: {}", path.string(),
        std::strerror(errno));
}

Id dataspace(const Shape& shape) {
  hsize_t extents[Shape::max_rank] = {};
  for (int i = 0; i < shape.rank(); ++i) extents[i] = static_cast<hsize_t>(shape[i]);
  return {require(H5Screate_simple(shape.rank(), extents, nullptr), "HDF5 refuses the extents {}",
                  shape.to_string()),
          H5Sclose};
}

Id scalar_dataspace() {
  return {require(H5Screate(H5S_SCALAR), "HDF5 gives no scalar extent"), H5Sclose};
}

Id file_type(DType dtype) {
  const auto copy = [](hid_t type) {
    return Id(require(H5Tcopy(type), "HDF5 gives no element type"), H5Tclose);
  };
  switch (dtype) {
    case DType::f32:
      return copy(H5T_IEEE_F32LE);
    case DType::f64:
      return copy(H5T_IEEE_F64LE);
    case DType::i32:
      return copy(H5T_STD_I32LE);
    case DType::i64:
      return copy(H5T_STD_I64LE);
    case DType::u8:
      return copy(H5T_STD_U8LE);
    case DType::u16:
      return copy(H5T_STD_U16LE);
    case DType::bf16:
    case DType::f16:
      break;
  }
  Id type = copy(H5T_IEEE_F32LE);
  // Sign bit 15; the exponent above the mantissa, which begins at bit 0.
  const size_t mantissa = dtype == DType::bf16 ? 7 : 10;
  const size_t bias = dtype == DType::bf16 ? 127 : 15;
  require(H5Tset_fields(type, 15, mantissa, 15 - mantissa, 0, mantissa),
          "HDF5 refuses the fields of {}", name_of(dtype));
  require(H5Tset_size(type, 2), "HDF5 refuses the size of {}", name_of(dtype));
  require(H5Tset_ebias(type, bias), "HDF5 refuses the exponent of {}", name_of(dtype));
  return type;
}

namespace {

void make_groups(const Id& file, const std::string& name) {
  for (size_t end = name.find('/', 1); end != std::string::npos; end = name.find('/', end + 1)) {
    const std::string group = name.substr(0, end);
    const htri_t there = H5Lexists(file, group.c_str(), H5P_DEFAULT);
    require(there, "cannot look for group {}", group);
    if (there > 0) continue;
    const Id made(require(H5Gcreate2(file, group.c_str(), H5P_DEFAULT, untimed(H5P_GROUP_CREATE),
                                     H5P_DEFAULT),
                          "cannot create group {}", group),
                  H5Gclose);
  }
}

}  // namespace

Id create_dataset(const Id& file, const std::string& name, const Id& type, const Id& space,
                  const Id& creation) {
  make_groups(file, name);
  return {require(H5Dcreate2(file, name.c_str(), type, space, H5P_DEFAULT, creation, H5P_DEFAULT),
                  "cannot create dataset {}", name),
          H5Dclose};
}

Id open_dataset(const Id& file, const std::string& name) {
  return {require(H5Dopen2(file, name.c_str(), H5P_DEFAULT), "dataset {} cannot be opened", name),
          H5Dclose};
}

Shape shape_of(const Id& dataset, const std::string& name) {
  const Id space(require(H5Dget_space(dataset), "dataset {} has no extent", name), H5Sclose);
  const auto axes = require(H5Sget_simple_extent_ndims(space), "dataset {} has no extent", name);
  check(axes <= Shape::max_rank, "checkpoint", "dataset {} has {} axes; at most {} are allowed",
        name, axes, Shape::max_rank);
  hsize_t extents[Shape::max_rank] = {};
  require(H5Sget_simple_extent_dims(space, extents, nullptr), "dataset {} has no extent", name);
  int64_t values[Shape::max_rank] = {};
  for (int i = 0; i < axes; ++i) values[i] = static_cast<int64_t>(extents[i]);
  return Shape(std::span<const int64_t>(values, static_cast<size_t>(axes)));
}

void write_attribute(const Id& object, const char* name, int64_t value) {
  write_attribute(object, name, H5T_STD_I64LE, scalar_dataspace(), &value);
}

void write_attribute(const Id& object, const char* name, uint64_t value) {
  write_attribute(object, name, H5T_STD_U64LE, scalar_dataspace(), &value);
}

void write_attribute(const Id& object, const char* name, double value) {
  write_attribute(object, name, H5T_IEEE_F64LE, scalar_dataspace(), &value);
}

void write_attribute(const Id& object, const char* name, const std::string& value) {
  const Id type = text_type(value.size());
  write_attribute(object, name, type, scalar_dataspace(), value.c_str());
}

void write_attribute(const Id& object, const char* name, const Shape& value) {
  int64_t values[Shape::max_rank] = {};
  for (int i = 0; i < value.rank(); ++i) values[i] = value[i];
  write_attribute(object, name, H5T_STD_I64LE, dataspace({value.rank()}), values);
}

void set_attribute(const Id& file, const std::string& name, const char* attribute, uint64_t value) {
  Id dataset = open_dataset(file, name), opened = open_attribute(dataset, attribute);
  require(H5Awrite(opened, H5T_STD_U64LE, &value), "cannot write attribute {} of {}", attribute,
          name);
  opened.close(name);
  dataset.close(name);
}

int64_t read_int_attribute(const Id& object, const char* name) {
  return read_scalar_attribute<int64_t>(object, name, H5T_STD_I64LE);
}

uint64_t read_unsigned_attribute(const Id& object, const char* name) {
  return read_scalar_attribute<uint64_t>(object, name, H5T_STD_U64LE);
}

double read_double_attribute(const Id& object, const char* name) {
  return read_scalar_attribute<double>(object, name, H5T_IEEE_F64LE);
}

std::string read_string_attribute(const Id& object, const char* name) {
  const Id attribute = open_attribute(object, name);
  const Id type(require(H5Aget_type(attribute), "attribute {} has no type", name), H5Tclose);
  check(H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0, "checkpoint",
        "attribute {} is no string of fixed length", name);
  std::string value(H5Tget_size(type), '\0');
  require(H5Aread(attribute, type, value.data()), "cannot read attribute {}", name);
  return without_padding(std::move(value));
}

void write_text(const Id& file, const std::string& name, const std::string& text) {
  const Id type = text_type(text.size());
  Id dataset = create_dataset(file, name, type, scalar_dataspace(), untimed(H5P_DATASET_CREATE));
  require(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text.c_str()),
          "cannot write dataset {}", name);
  write_attribute(dataset, "xxh3_64", uint64_t{XXH3_64bits(text.data(), text.size())});
  dataset.close(name);
}

std::string read_text(const Id& file, const std::string& name) {
  const Id dataset = open_dataset(file, name);
  const Id type(require(H5Dget_type(dataset), "dataset {} has no type", name), H5Tclose);
  check(H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0, "checkpoint",
        "dataset {} is no string of fixed length", name);
  std::string text(H5Tget_size(type), '\0');
  require(H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text.data()),
          "cannot read dataset {}", name);
  text = without_padding(std::move(text));
  check(read_unsigned_attribute(dataset, "xxh3_64") == XXH3_64bits(text.data(), text.size()),
        "checkpoint", "dataset {} is damaged: its checksum does not fit its contents", name);
  return text;
}

std::vector<std::string> names_in(const Id& file, const std::string& group) {
  const auto collect = [](hid_t, const char* name, const H5L_info_t*, void* names) -> herr_t {
    static_cast<std::vector<std::string>*>(names)->emplace_back(name);
    return 0;
  };
  std::vector<std::string> names;
  require(H5Literate_by_name(file, group.c_str(), H5_INDEX_NAME, H5_ITER_INC, nullptr, +collect,
                             &names, H5P_DEFAULT),
          "group {} cannot be read", group);
  return names;
}

}  // namespace switchyard::hdf5
