#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

// Numbers as ranges, in the order given: "0-3 8-11 5".
std::string number_ranges(std::span<const int64_t> numbers, char separator = ' ');

// Hosts in Slurm's short form, in the order given: "n[1-3],gpu-[07,09-12],login".
std::string short_host_list(std::span<const std::string> hosts);

// The hosts of Slurm's short form; throws Error for text that is no such list.
std::vector<std::string> hosts_in(std::string_view short_form);

// The first of them; what stands behind its comma is not looked at.
std::string first_host(std::string_view short_form);

// Counts of neighbours in Slurm's short form: "8(x3),4".
std::string short_counts(std::span<const int64_t> counts);
std::vector<int64_t> counts_in(std::string_view short_form);  // throws Error likewise

}  // namespace switchyard
