#pragma once

#include "base/result.h"
#include "base/thread.h"

namespace bellhop::sandbox {

/// What is told of a refused system call, and the end of the process.
///
/// The kernel could end it at once (SECCOMP_RET_KILL_PROCESS), but says nothing of why: users of
/// other VMMs know machines that vanish with a new C library. So a refused call is a SIGSYS instead
/// (SECCOMP_RET_TRAP): the call is not made, and the handler writes one line, if standard error
/// takes it at once, and makes the call again. By then the kernel has put the signal's default back
/// (SA_RESETHAND), which ends the process by SIGSYS. No kind of thread may change that handler, and
/// it goes by nothing that is in memory but the line's own text.
///
/// `before` is called first, for a terminal to be put back: only what a signal handler may call.
/// Errors: no handler can be had.
Status tell_refusals(void (*before)() noexcept);

/// The calling thread's part of that line. Async-signal-safe from here on.
void name_this_thread(ThreadKind kind) noexcept;

/// "socket", ...; empty: the library does not know it. Any thread, once tell_refusals() or this was
/// called by the main one.
const char* call_name(int number) noexcept;

}  // namespace bellhop::sandbox
