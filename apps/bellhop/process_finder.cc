#include "apps/bellhop/process_finder.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>
#include <span>
#include <sstream>
#include <string_view>
#include <system_error>

#include "apps/bellhop/ch_arguments.h"
#include "base/split.h"
#include "base/unix_socket.h"
#include "config/machine_options.h"

namespace bellhop {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kProgram = "bellhop";
constexpr std::string_view kDeleted = " (deleted)";  // proc(5): the program was replaced

template <class Number>
std::optional<Number> number_in(std::string_view text, int base = 10) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// Files of /proc have no size; what cannot be read is empty.
std::string contents(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return std::move(text).str();
}

std::string link_of(const fs::path& link) {
  std::error_code none;
  return fs::read_symlink(link, none).string();
}

std::vector<std::string> words_of(const std::string& cmdline) {
  std::vector<std::string> words;
  for (const std::string_view word : split(cmdline, '\0')) words.emplace_back(word);
  if (!words.empty() && words.back().empty()) words.pop_back();  // the last ends with a zero, too
  return words;
}

/// "--name VALUE" or "--name=VALUE"; empty: not there.
std::string value_of(const std::vector<std::string>& words, std::string_view name) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string_view word = words[i];
    if (word == name && i + 1 < words.size()) return words[i + 1];
    if (word.starts_with(name) && word.substr(name.size()).starts_with('=')) {
      return std::string(word.substr(name.size() + 1));
    }
  }
  return {};
}

/// proc(5): of the fields behind the name, which may have blanks and parentheses itself, the 20th
/// is when the process began, in ticks since the host did.
std::optional<std::chrono::seconds> uptime_of(const std::string& stat, const std::string& uptime) {
  constexpr std::size_t kStart = 20;
  const auto name_end = stat.rfind(") ");
  if (name_end == std::string::npos) return std::nullopt;
  const std::string_view rest = std::string_view(stat).substr(name_end + 1);
  const auto fields = split(rest, ' ');  // the first is empty
  if (fields.size() <= kStart) return std::nullopt;
  const auto ticks = number_in<std::uint64_t>(fields[kStart]);
  const auto now = number_in<std::uint64_t>(uptime.substr(0, uptime.find('.')));
  const long rate = ::sysconf(_SC_CLK_TCK);
  if (!ticks || !now || rate <= 0) return std::nullopt;
  const std::uint64_t begin = *ticks / static_cast<std::uint64_t>(rate);
  return std::chrono::seconds(*now > begin ? *now - begin : 0);
}

/// The sockets that listen in the process' network namespace and have a path: by their inodes.
std::map<std::string, std::string> listening(const fs::path& process) {
  constexpr unsigned kAccepts = 1U << 16U;  // __SO_ACCEPTCON
  std::map<std::string, std::string> found;
  std::ifstream table(process / "net/unix");
  for (std::string line; std::getline(table, line);) {
    // Num RefCount Protocol Flags Type St Inode Path
    std::istringstream columns(line);
    std::string skipped;
    std::string flags;
    std::string inode;
    std::string path;
    columns >> skipped >> skipped >> skipped >> flags >> skipped >> skipped >> inode >> std::ws;
    std::getline(columns, path);
    const auto bits = number_in<unsigned>(flags, 16);
    if (!bits || (*bits & kAccepts) == 0 || path.empty() || path.front() == '@') continue;
    found.emplace(fmt::format("socket:[{}]", inode), path);
  }
  return found;
}

/// The paths of those that are the process' own.
std::vector<std::string> sockets_of(const fs::path& process,
                                    const std::map<std::string, std::string>& all) {
  std::vector<std::string> own;
  std::error_code none;
  for (fs::directory_iterator fd(process / "fd", none), end; fd != end; fd.increment(none)) {
    const auto at = all.find(link_of(fd->path()));
    if (at != all.end()) own.push_back(at->second);
  }
  std::ranges::sort(own);
  own.erase(std::ranges::unique(own).begin(), own.end());
  return own;
}

/// As this process has to name a path of that one.
std::string way_to(const fs::path& process, const std::string& path) {
  if (!path.starts_with('/')) return (process / "cwd" / path).string();
  std::string by_root = (process / "root").string() + path;
  return by_root.size() <= kMaxUnixPath ? by_root : path;
}

/// As people name it.
std::string whole_path(const fs::path& process, const std::string& path) {
  return path.starts_with('/') ? path : (fs::path(link_of(process / "cwd")) / path).string();
}

bool same_file(const std::string& one, const std::string& other) {
  struct stat here {};
  struct stat there {};
  return ::stat(one.c_str(), &here) == 0 && ::stat(other.c_str(), &there) == 0 &&
         here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

/// What it was told of its API: on the command line, which wins, or in its file.
std::string api_option(const fs::path& process, const std::vector<std::string>& words) {
  std::string option = value_of(words, "--api-socket");
  const std::string file = value_of(words, "--config");
  if (!option.empty() || file.empty()) return option;
  const auto options = read_options_file(way_to(process, file));
  return options && options->api_socket ? options->api_socket->text : std::string();
}

void find_api(const fs::path& process, const std::vector<std::string>& words, FoundProcess& found) {
  constexpr std::string_view kFd = "fd=";
  const std::string option = api_option(process, words);
  if (option.empty()) return;
  const auto all = listening(process);
  std::string path;
  if (option.starts_with(kFd)) {
    const auto at = all.find(link_of(process / "fd" / option.substr(kFd.size())));
    if (at != all.end()) path = at->second;
  } else {
    // The same file by whatever name: a file's paths are meant from its folder.
    for (const std::string& own : sockets_of(process, all)) {
      const std::string way = way_to(process, own);
      if (same_file(way_to(process, option), way) || same_file(option, way)) path = own;
    }
  }
  if (path.empty()) return;
  found.api_socket = whole_path(process, path);
  found.api_way = way_to(process, path);
}

std::string what_of(const std::vector<std::string>& words, bool serves) {
  const std::string file = value_of(words, "--config");
  if (serves) return words.size() > 2 && !words[2].starts_with('-') ? words[2] : file;
  const std::string kernel = value_of(words, "--kernel");
  return kernel.empty() ? file : kernel;
}

/// Nothing: it is no machine, nor a server, or not this user's.
std::optional<FoundProcess> look_at(const fs::path& process, pid_t pid, std::optional<uid_t> user) {
  std::string program = link_of(process / "exe");
  if (program.ends_with(kDeleted)) program.resize(program.size() - kDeleted.size());
  if (fs::path(program).filename() != kProgram) return std::nullopt;
  struct stat owner {};
  if (::stat(process.c_str(), &owner) != 0 || (user && owner.st_uid != *user)) return std::nullopt;
  std::vector<std::string> words = words_of(contents(process / "cmdline"));
  if (!words.empty() && is_ch_name(words.front())) {
    auto ours = read_ch_arguments(std::span(words).subspan(1));
    if (!ours) return std::nullopt;
    ours->words.insert(ours->words.begin(), std::string(kProgram));
    words = std::move(ours->words);
  }
  if (words.size() < 2 || (words[1] != "run" && words[1] != "serve")) return std::nullopt;
  FoundProcess found;
  found.pid = pid;
  found.serves = words[1] == "serve";
  found.what = what_of(words, found.serves);
  found.uptime = uptime_of(contents(process / "stat"), contents(process.parent_path() / "uptime"));
  if (!found.serves) {
    find_api(process, words, found);
    return found;
  }
  for (const std::string& path : sockets_of(process, listening(process))) {
    found.sockets.push_back(whole_path(process, path));
  }
  return found;
}

}  // namespace

Result<std::vector<FoundProcess>> find_processes(const fs::path& proc, std::optional<uid_t> user) {
  std::vector<FoundProcess> all;
  std::error_code error;
  for (fs::directory_iterator one(proc, error), end; !error && one != end; one.increment(error)) {
    const auto pid = number_in<pid_t>(one->path().filename().string());
    if (!pid) continue;
    if (auto found = look_at(one->path(), *pid, user)) all.push_back(std::move(*found));
  }
  if (error) return fail(fmt::format("{}: cannot be read", proc.string()), error.value());
  std::ranges::sort(all, {}, &FoundProcess::pid);
  return all;
}

Result<std::vector<FoundProcess>> find_my_processes() {
  const uid_t user = ::geteuid();
  return find_processes("/proc", user == 0 ? std::nullopt : std::optional(user));
}

}  // namespace bellhop
