#include "core/sha256.h"

#include <fcntl.h>
#include <openssl/evp.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "core/error.h"
#include "core/files.h"

namespace switchyard {

namespace {

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    require(context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
  }
  void add(std::span<const std::byte> bytes) {
    require(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
  }
  std::string hexadecimal() {
    std::array<unsigned char, 32> digest{};
    require(EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr) == 1);
    std::string text;
    for (const unsigned char byte : digest) text += fmt::format("{:02x}", byte);
    return text;
  }

 private:
  static void require(bool ok) { check(ok, "file", "OpenSSL cannot compute SHA-256"); }
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
};

}  // namespace

std::string sha256_of_file(const std::filesystem::path& file,
                           const std::function<void(int64_t bytes)>& progress) {
  const Descriptor open(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  check(static_cast<bool>(open), "file", "{} cannot be read: {}", file.string(),
        std::strerror(errno));
  Sha256 hash;
  std::vector<std::byte> part(size_t{4} << 20);
  for (int64_t position = 0;;) {
    const int64_t bytes = pread_all(open, position, part);
    check(bytes >= 0, "file", "{} cannot be read: {}", file.string(), std::strerror(errno));
    if (bytes == 0) return hash.hexadecimal();
    hash.add(std::span(part).first(static_cast<size_t>(bytes)));
    position += bytes;
    if (progress) progress(bytes);
  }
}

}  // namespace switchyard
