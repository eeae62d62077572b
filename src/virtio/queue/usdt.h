#pragma once

// Probe points for bpftrace, perf and SystemTap (USDT): one nop each until somebody attaches. The
// notes in the program say where they are and where their arguments lie; nothing is computed for
// them. They are in programs that were built where sys/sdt.h is (systemtap-sdt-dev).
#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define BELLHOP_USDT2(name, first, second) DTRACE_PROBE2(bellhop, name, first, second)
#define BELLHOP_USDT3(name, first, second, third) DTRACE_PROBE3(bellhop, name, first, second, third)
#else
#define BELLHOP_USDT2(name, first, second) static_cast<void>(0)
#define BELLHOP_USDT3(name, first, second, third) static_cast<void>(0)
#endif
