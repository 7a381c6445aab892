#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/files.h"

namespace switchyard {

// Memory that processes of one machine have in common. It has no name in any file system, so that
// nothing stays behind whatever ends them, and cannot shrink under whoever uses it.
class SharedPages {
 public:
  // Zeros. None: the system gives no such memory.
  static std::optional<SharedPages> make(int64_t bytes);
  // What the maker, who still has them, calls invitation(). None: it is no process that is seen
  // from here, or there is no room for them.
  static std::optional<SharedPages> join(const std::string& invitation);
  std::string invitation() const;

  std::byte* data() const { return memory_.get(); }
  int64_t bytes() const { return bytes_; }

 private:
  struct Unmap {
    size_t bytes;
    void operator()(std::byte* memory) const;
  };
  SharedPages(Descriptor file, int64_t bytes);
  static std::optional<SharedPages> mapped(Descriptor file, int64_t bytes);

  Descriptor file_;
  std::unique_ptr<std::byte, Unmap> memory_;
  int64_t bytes_ = 0;
};

}  // namespace switchyard
