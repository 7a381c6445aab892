#pragma once

#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/comm/rendezvous/tcp_socket.h"

namespace switchyard {

// A client of the store as its server has it: bytes that have come and go. Nothing here blocks.
class StoreConnection {
 public:
  explicit StoreConnection(TcpSocket socket);
  int descriptor() const { return socket_.descriptor(); }

  bool read();   // what is there; false at its end
  bool write();  // what fits; false when it is gone
  void say(std::string_view text);
  bool wants_to_write() const { return sent_ < out_.size(); }
  // The next `count` texts, once all of them have come. Throws Error for lengths that are none.
  std::optional<std::vector<std::string>> take(size_t count);
  std::optional<std::string> peek();  // the next one, without taking it
  void forget_input();                // all that has come

  std::string rank{};      // "world rank 3 on n2", once it has greeted
  bool has_ended = false;  // in order
  bool is_refused = false;
  bool watched_for_room = false;
  std::list<StoreConnection>::iterator place{};

 private:
  std::optional<std::string_view> text_at(size_t& offset) const;

  TcpSocket socket_;
  std::string in_, out_;
  size_t used_ = 0;  // of in_
  size_t sent_ = 0;  // of out_
};

}  // namespace switchyard
