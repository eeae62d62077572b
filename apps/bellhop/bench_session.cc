#include "apps/bellhop/bench_session.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "base/cpu_list.h"
#include "bellhop_version.h"
#include "bench/harness/proc_file.h"
#include "probe/host_facts.h"

namespace bellhop {

namespace {

/// A word as a shell takes it.
std::string in_shell_quotes(const std::string& word) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-_=+,./:%@").find(c) != std::string_view::npos;
  };
  if (!word.empty() && std::ranges::all_of(word, plain)) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

/// The command that this program was started with.
std::string own_command() {
  const auto line = bench::read_proc_file("/proc/self/cmdline");
  std::string command;
  std::string word;
  for (const char c : line ? *line : std::string()) {
    if (c != '\0') {
      word += c;
      continue;
    }
    command += (command.empty() ? "" : " ") + in_shell_quotes(word);
    word.clear();
  }
  return command;
}

std::string now_in_words() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32] = {};
  (void)std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &parts);
  return text;
}

/// Of the facts about a host those that decide whether two reports may be joined.
nlohmann::ordered_json deciding_facts() {
  const auto facts = to_json(read_host_facts(BELLHOP_VERSION));
  nlohmann::ordered_json deciding;
  for (const char* name : {"cpus", "cpu_model", "kernel", "bellhop"}) deciding[name] = facts[name];
  return deciding;
}

Result<std::string> read_file(const std::string& path) {
  constexpr off_t kLargest = off_t{64} << 20;
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.valid()) return fail_errno("cannot read " + path);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return fail_errno("cannot read " + path);
  if (!S_ISREG(info.st_mode) || info.st_size > kLargest) {
    return fail(path + " is no file that bench has written");
  }
  std::string text(static_cast<std::size_t>(info.st_size), '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t got = ::read(file.get(), text.data() + done, text.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("cannot read " + path);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  text.resize(done);
  return text;
}

}  // namespace

Result<std::unique_ptr<BenchSession>> BenchSession::start(
    const BenchOutput& output, std::initializer_list<std::string> guest) {
  std::unique_ptr<BenchSession> session(new BenchSession);
  auto opened = open_output(output, guest);
  if (!opened) return forward(opened);
  session->output_ = std::move(*opened);
  auto interrupt = EventFd::create();
  if (!interrupt) return fail(interrupt.error().message, interrupt.error().code);
  session->interrupt_ = std::move(*interrupt);
  SignalWaiter::block_signals();
  auto signals = SignalWaiter::start({.stop = [event = &session->interrupt_] { event->signal(); }});
  if (!signals) return forward(signals);
  session->signals_ = std::move(*signals);
  auto load = bench::LoadWatch::start();
  if (!load) return forward(load);
  session->load_ = *load;
  session->date_ = now_in_words();
  return session;
}

bench::SweepHooks BenchSession::hooks(double repeat_s) {
  return {[this, repeat_s](const bench::SweepSize& size) {
            const auto cpus = static_cast<unsigned>(allowed_cpus().size());
            const std::string busy = bench::warn_of(load_->before(), cpus);
            if (!busy.empty())
              (void)std::fputs(("[bench] warning: " + busy + "\n").c_str(), stderr);
            progress_.begin(size, repeat_s);
          },
          [this](std::size_t number, std::size_t total, const std::string& what) {
            progress_.show(number, total, what);
          }};
}

Status BenchSession::conclude(bench::ReportBase& report) {
  auto load = load_->finish();
  if (!load) return forward(load);
  report.load = *load;
  report.date = date_;
  report.command = own_command();
  describe_host(report);
  return {};
}

int BenchSession::finish(int status) {
  const int signal = signals_->finish();
  return signal != 0 ? kSignalBase + signal : status;
}

void add_machines(nlohmann::ordered_json& options, const std::vector<bench::Vmm>& vmms,
                  const bench::Programs& programs) {
  options["vmm"] = nlohmann::ordered_json::array();
  for (const bench::Vmm vmm : vmms) {
    options["vmm"].push_back(vmm == bench::Vmm::kInprocess ? "inprocess" : programs.name(vmm));
  }
}

void add_times(nlohmann::ordered_json& options, const bench::Rounds& rounds, double seconds,
               const bench::Launch& launch) {
  options["seconds"] = seconds;
  options["warmup"] = launch.warmup_s;
  options["repeat"] = rounds.is_fixed() ? fmt::format("{}", rounds.most)
                                        : fmt::format("{}..{}", rounds.least, rounds.most);
  options["until"] = rounds.within;
  options["guest-words"] = launch.extra_cmdline;
}

BenchOutput output_for(BenchOutput output, const std::string& resume) {
  if (output.json.empty()) output.json = resume;
  return output;
}

Result<nlohmann::ordered_json> read_resume(const std::string& path,
                                           const nlohmann::ordered_json& options) {
  const auto wrong = [&path](const Error& error) {
    return fail(fmt::format("--resume: {}: {}", path, error.message));
  };
  const auto text = read_file(path);
  if (!text) return fail("--resume: " + text.error().message, text.error().code);
  auto report = bench::parse_report(*text);
  if (!report) return wrong(report.error());
  if (auto same = bench::check_same(*report, options, deciding_facts()); !same) {
    return wrong(same.error());
  }
  return report;
}

}  // namespace bellhop
