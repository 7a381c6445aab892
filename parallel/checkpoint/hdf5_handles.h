#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/tensor.h"

// What the checkpoint needs of HDF5, with every return code checked. hdf5.h itself is included by
// the .cpp files only; its hid_t is an int64_t.
namespace switchyard::hdf5 {

// Held around every use of HDF5, handles' destructors included. The first one prepares the library
// (no clean-up at exit: after a failed write that would crash), each turns HDF5's printing of
// errors off for its thread; a build of HDF5 without thread safety is locked meanwhile. Where HDF5
// calls exit() within, as it does for want of memory, the process says so and ends with code 1.
class Session {
 public:
  Session();

 private:
  struct Mark {
    Mark();
    ~Mark();
    Mark(const Mark&) = delete;
    Mark& operator=(const Mark&) = delete;
  };
  Mark mark_;
  std::unique_lock<std::recursive_mutex> lock_;
};

// An HDF5 identifier, closed with its owner.
class Id {
 public:
  using Close = int (*)(int64_t);
  Id() = default;
  Id(int64_t id, Close close_function) : id_(id), close_(close_function) {}
  ~Id() { reset(); }
  Id(Id&& other) noexcept;
  Id& operator=(Id&& other) noexcept;
  operator int64_t() const { return id_; }  // NOLINT(google-explicit-constructor): as a hid_t
  // Closes and checks the outcome; the destructor cannot.
  void close(const std::string& what);

 private:
  void reset();
  int64_t id_ = -1;
  Close close_ = nullptr;
};

// Why the last call of this thread failed: strerror's text where the system refused, otherwise what
// HDF5 itself says. Clears HDF5's error stack.
std::string last_error();

// The result of an HDF5 call; throws Error when it is negative, the cause appended.
template <class... Args>
int64_t require(int64_t result, fmt::format_string<Args...> format, Args&&... args) {
  if (result < 0) [[unlikely]] {
    fail("checkpoint", "{}: {}", fmt::format(format, std::forward<Args>(args)...), last_error());
  }
  return result;
}

// An existing file is overwritten. What HDF5 places of at least least_aligned bytes begins at a
// multiple of `alignment` bytes; 1: anywhere.
Id create_file(const std::filesystem::path& path, int64_t least_aligned = 0, int64_t alignment = 1);
Id open_file(const std::filesystem::path& path);  // read-only
void flush_and_close(Id& file, const std::filesystem::path& path);
// Closes the file, whose contents are on the disk itself then.
void sync_and_close(Id& file, const std::filesystem::path& path);

Id dataspace(const Shape& shape);
Id scalar_dataspace();
// The type in files, little-endian; also given as the memory type, so that raw bits pass
// unconverted. bf16 is a custom 16-bit float.
Id file_type(DType dtype);
// Properties of what is created, `kind` being H5P_FILE_CREATE and such, without the time of that:
// equal contents give equal files.
Id untimed(int64_t kind);
// The dataset `name` ("/group/name"), and the groups that it lies in as far as they are not there.
Id create_dataset(const Id& file, const std::string& name, const Id& type, const Id& space,
                  const Id& creation);
Id open_dataset(const Id& file, const std::string& name);
Shape shape_of(const Id& dataset, const std::string& name);

void write_attribute(const Id& object, const char* name, int64_t value);
void write_attribute(const Id& object, const char* name, uint64_t value);
void write_attribute(const Id& object, const char* name, double value);
void write_attribute(const Id& object, const char* name, const std::string& value);
void write_attribute(const Id& object, const char* name, const Shape& value);
// A new value of an attribute of the dataset `name` that was written as a u64.
void set_attribute(const Id& file, const std::string& name, const char* attribute, uint64_t value);

int64_t read_int_attribute(const Id& object, const char* name);
uint64_t read_unsigned_attribute(const Id& object, const char* name);
double read_double_attribute(const Id& object, const char* name);
std::string read_string_attribute(const Id& object, const char* name);

// A text as one fixed-length UTF-8 string, with the xxh3-64 of its bytes as attribute. Reading
// throws Error when they disagree.
void write_text(const Id& file, const std::string& name, const std::string& text);
std::string read_text(const Id& file, const std::string& name);
// The names of the links in a group, ascending.
std::vector<std::string> names_in(const Id& file, const std::string& group);

}  // namespace switchyard::hdf5
