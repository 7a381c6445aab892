#pragma once

#include <filesystem>
#include <functional>

namespace switchyard {

// What is about to be deleted of a complete checkpoint leaves first: for whoever looks it is gone
// from then on, and it can still come back, whole. So whoever wants to keep it says so first and
// looks for it behind that; and whoever deletes looks behind its leaving whether somebody does.
// A process may be killed at any instant.

// The step is incomplete from here on; false: it was before.
bool let_leave(const std::filesystem::path& checkpoint);
bool is_leaving(const std::filesystem::path& checkpoint);
// A step that is leaving is complete again; nothing happens to another one.
void bring_back(const std::filesystem::path& checkpoint);

// The same of the moments, whose files are all there while they are leaving (see moments.h).
void let_moments_leave(const std::filesystem::path& checkpoint,
                       const std::function<void()>& replace_master);
bool are_moments_leaving(const std::filesystem::path& checkpoint);
void bring_moments_back(const std::filesystem::path& checkpoint);
void forget_leaving_moments(const std::filesystem::path& checkpoint);  // from now on they are gone

// Names that other hosts have changed are seen behind this, where their file system keeps what it
// has read of a folder for some time (NFS): a file is made in it and removed.
void see_anew(const std::filesystem::path& folder);
// Those that processes left which were killed meanwhile; anybody's may go as soon as it is there.
void remove_looks(const std::filesystem::path& folder);

}  // namespace switchyard
