#include "parallel/comm/inquiry_table.h"

#include <arpa/inet.h>
#include <fmt/ranges.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>

#include "core/text.h"
#include "parallel/comm/rendezvous/job_identity.h"

namespace switchyard {

namespace {

constexpr size_t most_missing = 500;  // ranks that an answer names

// This start of this machine, and this network of it.
std::string own_machine() {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  struct stat network {};
  ::stat("/proc/self/ns/net", &network);
  return fmt::format("{}/{}/{}", job_identity().host, boot, network.st_ino);
}

std::vector<uint32_t> own_addresses() {
  std::vector<uint32_t> found;
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return found;
  for (const ifaddrs* each = all; each != nullptr; each = each->ifa_next) {
    const bool up = (each->ifa_flags & IFF_UP) != 0 && (each->ifa_flags & IFF_LOOPBACK) == 0;
    if (!up || each->ifa_addr == nullptr || each->ifa_addr->sa_family != AF_INET) continue;
    found.push_back(reinterpret_cast<const sockaddr_in*>(each->ifa_addr)->sin_addr.s_addr);
  }
  ::freeifaddrs(all);
  return found;
}

std::string_view take_word(std::string_view& text) {
  const size_t end = std::min(text.find(' '), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return word;
}

}  // namespace

RankAddress own_address(int port) {
  return {.machine = own_machine(), .port = port, .addresses = own_addresses()};
}

std::string to_text(const RankAddress& address) {
  return fmt::format("{} {} {}", address.machine, address.port, fmt::join(address.addresses, ","));
}

RankAddress address_of(std::string_view text) {
  RankAddress address;
  address.machine = take_word(text);
  address.port = parse_number<int>(take_word(text)).value_or(0);
  for (const auto number : split_at(',', text))
    if (const auto value = parse_number<uint32_t>(number)) address.addresses.push_back(*value);
  return address;
}

// An address that both have, such as that of each machine's containers, is not the other's.
std::vector<sockaddr_in> targets_of(const RankAddress& rank, const RankAddress& mine) {
  std::vector<uint32_t> chosen;
  for (const uint32_t address : rank.addresses)
    if (std::ranges::find(mine.addresses, address) == mine.addresses.end())
      chosen.push_back(address);
  if (rank.machine == mine.machine) chosen = {htonl(INADDR_LOOPBACK)};
  std::vector<sockaddr_in> targets(chosen.size());
  for (size_t i = 0; i < chosen.size(); ++i) {
    targets[i].sin_family = AF_INET;
    targets[i].sin_port = htons(static_cast<uint16_t>(rank.port));
    targets[i].sin_addr.s_addr = chosen[i];
  }
  return targets;
}

std::string to_text(const std::string& token, const Datagram& datagram) {
  return fmt::format("switchyard {} {} {} {}", token, datagram.rank, datagram.kind, datagram.rest);
}

std::optional<Datagram> datagram_of(const std::string& token, std::string_view text) {
  if (take_word(text) != "switchyard" || take_word(text) != token) return std::nullopt;
  Datagram datagram;
  datagram.rank = parse_number<int>(take_word(text)).value_or(-1);
  const auto kind = take_word(text);
  if (datagram.rank < 0 || kind.size() != 1) return std::nullopt;
  datagram.kind = kind[0];
  datagram.rest = text;
  return datagram;
}

std::string to_text(const RankActivity& activity) {
  const size_t named = std::min(activity.missing.size(), most_missing);
  const std::vector<int> missing(activity.missing.begin(),
                                 activity.missing.begin() + static_cast<ptrdiff_t>(named));
  return fmt::format("{} {} {} {}\t{}", static_cast<int64_t>(activity.seconds * 1e3), activity.step,
                     missing.empty() ? "-" : fmt::format("{}", fmt::join(missing, ",")),
                     activity.what, activity.call);
}

RankActivity activity_of(std::string_view text) {
  RankActivity activity;
  activity.seconds = static_cast<double>(parse_number<int64_t>(take_word(text)).value_or(0)) / 1e3;
  activity.step = parse_number<int64_t>(take_word(text)).value_or(0);
  for (const auto number : split_at(',', take_word(text)))
    if (const auto rank = parse_number<int>(number)) activity.missing.push_back(*rank);
  const size_t tab = std::min(text.rfind('\t'), text.size());
  activity.what = text.substr(0, tab);
  activity.call = text.substr(std::min(tab + 1, text.size()));
  return activity;
}

}  // namespace switchyard
