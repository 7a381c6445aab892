#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "core/error.h"
#include "core/files.h"
#include "parallel/comm/rendezvous/store.h"

namespace switchyard {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// Each key is a file, which appears whole under its name. Nobody tells of ranks that are gone: the
// timeout does.
class FileStore final : public Store {
 public:
  FileStore(fs::path folder, const Options& options) : Store(options), folder_(std::move(folder)) {}

  // What an earlier start has left would be taken for this one's, so each rank makes a folder of
  // its own in it, once. No key has a dot in its file's name.
  void begin() const {
    std::error_code code;
    const auto check_made = [&](const fs::path& folder) {
      check(!code, ExitCode::storage, "store", "rank {} cannot make the folder {}: {}",
            options().rank, folder.string(), code.message());
    };
    fs::create_directories(folder_, code);
    check_made(folder_);
    const fs::path mark = folder_ / fmt::format("rank.{}", options().rank);
    const bool is_new = fs::create_directory(mark, code);
    check_made(mark);
    check(is_new, "store",
          "rank {} finds {}, as another start was given the folder; every start needs a folder of "
          "its own",
          options().rank, mark.string());
  }

  void set(const std::string& key, std::string_view value) override {
    check_size(key, value);
    const fs::path path = path_of(key);
    check(!fs::exists(path), "store",
          "rank {} sets \"{}\", which {} has already; every start needs a folder of its own",
          options().rank, key, folder_.string());
    const fs::path whole = path.string() + fmt::format(".part-{}", options().rank);
    std::error_code code = write_whole(whole, value, Durability::in_memory);
    if (!code) fs::rename(whole, path, code);
    check(!code, ExitCode::storage, "store", "rank {} cannot write \"{}\" to {}", options().rank,
          key, folder_.string());
  }

  std::unique_ptr<Store> duplicate() override {
    auto other = std::make_unique<FileStore>(folder_, options());
    other->ignore_stop();
    return other;
  }

 private:
  std::string read(const std::string& key, const Reading& reading) override {
    const fs::path path = path_of(key);
    const auto deadline = Clock::now() + reading.timeout;
    for (;;) {
      std::ifstream file(path, std::ios::binary);
      if (file) {
        std::string value{std::istreambuf_iterator<char>(file), {}};
        if (reading.removes) fs::remove(path);
        return value;
      }
      check_not_stopped(fmt::format("\"{}\"", key));
      check(Clock::now() < deadline, ExitCode::timed_out, "store",
            "rank {} of {} waited for \"{}\" in {} for {} ms (the timeout)", options().rank,
            options().size, key, folder_.string(), reading.timeout.count());
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  fs::path path_of(const std::string& key) const {
    std::string name;
    for (const char c : key) {
      const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_';
      name += plain ? std::string(1, c) : fmt::format("%{:02x}", static_cast<unsigned char>(c));
    }
    return folder_ / name;
  }

  fs::path folder_;
};

}  // namespace

std::unique_ptr<Store> make_file_store(const std::string& folder, const Store::Options& options) {
  auto store = std::make_unique<FileStore>(folder, options);
  store->begin();
  return store;
}

}  // namespace switchyard
