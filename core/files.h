#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

// How files are read, and written so that a crash leaves a whole one or none. What has an error
// text of its own, such as the writer of a checkpoint, is made of the steps.
namespace switchyard {

// An open file of the operating system, closed with its owner.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() { close(); }
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept;

  explicit operator bool() const { return number_ >= 0; }
  int number() const { return number_; }
  bool close();  // false: what was written may be lost, errno says why

 private:
  int number_ = -1;
};

// Whether `file` is still the name of what is open: it may have been removed or replaced.
bool is_named(const Descriptor& open, const std::filesystem::path& file);
// Writes all of `bytes`; false: errno says why not.
bool pwrite_all(const Descriptor& open, int64_t position, std::span<const std::byte> bytes);
// How many bytes were read: all, or those before the file's end; -1: errno says why not.
int64_t pread_all(const Descriptor& open, int64_t position, std::span<std::byte> bytes);

// The steps of writing a file. Each returns what the system says, or no error.
std::filesystem::path temporary_of(const std::filesystem::path& file);  // FILE.tmp
enum class Durability : uint8_t { in_memory, on_disk };
// Makes the file, or empties it first; it is gone again where it cannot be written whole.
std::error_code write_whole(const std::filesystem::path& file, std::string_view text,
                            Durability durability);
// Names are on the disk when their folder is. The empty folder is the current one.
std::error_code sync_folder(const std::filesystem::path& folder);

// All of it, for small files; `where` begins the text of the Error that they throw.
// Replaces `file` at once, through temporary_of(file), on the disk.
void write_file_atomically(const std::filesystem::path& file, std::string_view text,
                           std::string_view where = "file");
std::string read_file(const std::filesystem::path& file);
// Those of `folder` and the folders above it that are not there, the lowest first.
std::vector<std::filesystem::path> missing_folders(const std::filesystem::path& folder);
// With those above it.
void make_folder(const std::filesystem::path& folder, std::string_view where = "file");

}  // namespace switchyard
