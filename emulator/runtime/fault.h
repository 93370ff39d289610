// Tells which thread of which kernel touched memory that it may not.
#pragma once

namespace emulator {

/// From now on a fault of a kernel on this thread of the operating system is reported in a line on the standard error,
/// before the process aborts.
void report_faults();

}  // namespace emulator
