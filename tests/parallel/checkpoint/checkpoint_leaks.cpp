// HDF5 1.10 itself loses memory where a write fails or a damaged file is refused; the leak checker
// is told so in the tests that provoke both.
#if defined(__SANITIZE_ADDRESS__)
extern "C" const char* __lsan_default_suppressions() { return "leak:libhdf5\n"; }
#endif
