#include "parallel/comm/rendezvous/network_interfaces.h"

#include <arpa/inet.h>
#include <fmt/ranges.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

#include "core/error.h"
#include "parallel/comm/rendezvous/tcp_socket.h"

namespace switchyard {

namespace {

std::string text_of(const sockaddr* address) {
  std::array<char, INET_ADDRSTRLEN> text{};
  const auto* ipv4 = reinterpret_cast<const sockaddr_in*>(address);
  ::inet_ntop(AF_INET, &ipv4->sin_addr, text.data(), text.size());
  return text.data();
}

}  // namespace

std::vector<NetworkInterface> network_interfaces() {
  std::vector<NetworkInterface> found;
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return found;
  for (const ifaddrs* each = first; each != nullptr; each = each->ifa_next) {
    const bool ipv4 = each->ifa_addr != nullptr && each->ifa_addr->sa_family == AF_INET;
    if (!ipv4 || (each->ifa_flags & IFF_UP) == 0) continue;
    found.push_back({.name = each->ifa_name,
                     .address = text_of(each->ifa_addr),
                     .loopback = (each->ifa_flags & IFF_LOOPBACK) != 0});
  }
  ::freeifaddrs(first);
  return found;
}

std::string address_of_interface(const std::string& name) {
  const auto all = network_interfaces();
  std::vector<std::string> names;
  for (const NetworkInterface& each : all) {
    if (each.name == name) return each.address;
    if (std::ranges::find(names, each.name) == names.end()) names.push_back(each.name);
  }
  fail("launch", "--interface {}; this machine has, with IPv4 addresses: {}", name,
       names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", ")));
}

std::string address_towards(const std::string& host) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_DGRAM;
  constexpr const char* any_port = "9";
  if (::getaddrinfo(host.c_str(), any_port, &hints, &found) != 0) return {};
  const TcpSocket probe(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in mine{};
  socklen_t length = sizeof mine;
  auto* address = reinterpret_cast<sockaddr*>(&mine);
  const bool known = ::connect(probe.descriptor(), found->ai_addr, found->ai_addrlen) == 0 &&
                     ::getsockname(probe.descriptor(), address, &length) == 0;
  ::freeaddrinfo(found);
  return known ? text_of(address) : std::string();
}

std::vector<std::string> addresses_of(const std::string& host) {
  addrinfo hints{}, *first = nullptr;
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  std::vector<std::string> all;
  if (::getaddrinfo(host.c_str(), nullptr, &hints, &first) != 0) return all;
  for (const addrinfo* each = first; each != nullptr; each = each->ai_next)
    all.push_back(text_of(each->ai_addr));
  ::freeaddrinfo(first);
  return all;
}

bool are_of_this_machine(std::span<const std::string> addresses) {
  const auto here = network_interfaces();
  return std::ranges::any_of(addresses, [&](const std::string& address) {
    return address.starts_with("127.") ||
           std::ranges::find(here, address, &NetworkInterface::address) != here.end();
  });
}

std::string first_address() {
  const auto all = network_interfaces();
  const auto open = std::ranges::find(all, false, &NetworkInterface::loopback);
  return open == all.end() ? "127.0.0.1" : open->address;
}

}  // namespace switchyard
