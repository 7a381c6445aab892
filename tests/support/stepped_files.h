#pragma once

#include <cstdint>

// Of a program that links stepped_files.cpp: what changes names in folders (open for writing,
// mkdir, rename, link, unlink, rmdir), by whichever library it is called, can stop the process
// before it is done. flock succeeds always, as between hosts that keep it for themselves, every
// disk is one of many hosts, and fsync does nothing.
namespace switchyard::test {

// From now on: this process stops (SIGSTOP) before the operation of that number, which counts from
// 1; 0: before none.
void stop_before(int64_t operation);
int64_t operations();  // so far

}  // namespace switchyard::test
