#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/comm/rank_activity.h"

// Inside of inquiries: where ranks are asked, and the words of a datagram.
namespace switchyard {

// Where a rank's process is asked.
struct RankAddress {
  std::string machine{};  // the same text: the same network, reached by loopback
  int port = 0;
  std::vector<uint32_t> addresses;  // IPv4, in the network's order
};
RankAddress own_address(int port);
std::string to_text(const RankAddress& address);
RankAddress address_of(std::string_view text);

// At which of its addresses a rank is asked, given this process's own.
std::vector<sockaddr_in> targets_of(const RankAddress& rank, const RankAddress& mine);

// What a rank knows of the others.
struct InquiryTable {
  std::string token{};  // of this start: datagrams with another one are not heard
  int rank = 0;
  RankAddress mine{};
  std::vector<RankAddress> ranks{};  // by world rank
};

// A datagram is "switchyard TOKEN RANK KIND REST"; REST of an answer is what to_text() makes.
struct Datagram {
  int rank = 0;
  char kind = '?';  // '?': a question, '!': an answer, 'e': the job ends, 'g': a rank is gone
  std::string rest{};
};
std::string to_text(const std::string& token, const Datagram& datagram);
std::optional<Datagram> datagram_of(const std::string& token, std::string_view text);
std::string to_text(const RankActivity& activity);
RankActivity activity_of(std::string_view text);

}  // namespace switchyard
