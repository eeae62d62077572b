#pragma once

#include <CLI/App.hpp>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/host_needs.h"
#include "base/result.h"

namespace bellhop {

/// Exit statuses of every subcommand.
inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsedWrongly = 2;
// How a guest came to its end, of `run`.
inline constexpr int kGuestReset = 3;
inline constexpr int kGuestTripleFault = 4;
inline constexpr int kGuestPanicked = 5;
inline constexpr int kGuestInternalError = 6;
inline constexpr int kEndedAtTerminal = 7;  ///< Ctrl-A x
inline constexpr int kSignalBase = 128;     ///< plus the number of the signal that ended it

inline constexpr const char* kExitStatusHelp =
    "Exit status: 0 done, 1 failed, 2 used wrongly, 128+N ended by signal N.\n"
    "Sizes: 4K, 512M, 2G (powers of 1024).";

/// Called once all that a command is told has been read, and before anything is opened: as
/// enter_jail() (sandbox/jail.h).
using EnterJail = std::function<Result<std::optional<int>>(const HostNeeds&)>;
/// The exit status of a command that ran in a jail, or could not; nothing: go on, there is none, or
/// this is the process in it.
std::optional<int> run_in_jail(const EnterJail& enter, const HostNeeds& needs);

/// Each adds one subcommand whose callback sets `exit_status`.
void add_run_command(CLI::App& app, int& exit_status, EnterJail enter = nullptr);
void add_serve_command(CLI::App& app, int& exit_status, EnterJail enter = nullptr);
void add_jail_command(CLI::App& app, int& exit_status);
void add_ctl_command(CLI::App& app, int& exit_status);
void add_top_command(CLI::App& app, int& exit_status);
void add_ps_command(CLI::App& app, int& exit_status);
void add_probe_command(CLI::App& app, int& exit_status);
void add_explain_command(CLI::App& app, int& exit_status);
void add_bench_command(CLI::App& app, int& exit_status);
void add_completion_command(CLI::App& app, int& exit_status);
void add_bench_blk_command(CLI::App& bench, int& exit_status);
void add_bench_net_command(CLI::App& bench, int& exit_status);
void add_bench_net_end_command(CLI::App& bench, int& exit_status);
void add_bench_notify_command(CLI::App& bench, int& exit_status);
void add_bench_study_command(CLI::App& bench, int& exit_status);
void add_bench_vhost_user_command(CLI::App& bench, int& exit_status);

/// The text with its line breaks turned into blanks.
std::string one_line(std::string_view text);
/// Prints `text` as it is. What cannot be written throws nothing: of standard output main() tells.
void print(std::FILE* file, const std::string& text);
/// Says so on standard error, "bellhop: MESSAGE" or as --log-format has it, and returns `status`.
int report(const Error& error, int status);
/// The same for what is wrong before anything runs, whichever command finds it and however late:
/// kUsedWrongly if it is in what was asked for, such as a file that is not there, and kFailed if
/// the host refuses what it takes.
int report(const Error& error);

}  // namespace bellhop
