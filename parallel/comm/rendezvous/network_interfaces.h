#pragma once

#include <span>
#include <string>
#include <vector>

namespace switchyard {

// A network interface of this machine that is up, with its IPv4 address.
struct NetworkInterface {
  std::string name{};
  std::string address{};
  bool loopback = false;
};
std::vector<NetworkInterface> network_interfaces();

// Of the interface of this name; throws Error, with the names that there are, where there is none.
std::string address_of_interface(const std::string& name);

// This machine's address on the route to another one, asked of the kernel; empty where the name is
// unknown or no route leads there. Nothing is sent.
std::string address_towards(const std::string& host);

// All IPv4 addresses that a name, or an address, has here; empty where it is unknown.
std::vector<std::string> addresses_of(const std::string& host);
// Whether a machine with these addresses may be this one: one is an interface's, or a loopback.
bool are_of_this_machine(std::span<const std::string> addresses);

// That of the first interface that others may reach; the loopback's where there is none.
std::string first_address();

}  // namespace switchyard
