#include "sandbox/sandbox.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/sysinfo.h>
#include <time.h>

#include <map>
#include <optional>
#include <utility>

#include "base/log.h"
#include "sandbox/filter.h"
#include "sandbox/landlock.h"
#include "sandbox/refusal.h"
#include "sandbox/refusal_log.h"

namespace bellhop {

namespace {

using Filters = std::map<ThreadKind, sandbox::Filter>;

Status named(const Status& done) {
  if (done) return {};
  return fail("--seccomp: " + done.error().message + " (off does without)", done.error().code);
}

Status named_landlock(const Status& done) {
  if (done) return {};
  return fail("--landlock: " + done.error().message + " (off does without)", done.error().code);
}

/// All of them before the first thread: those that start late may not make theirs.
Result<Filters> make_filters(SeccompMode mode) {
  Filters filters;
  for (const ThreadKind kind : sandbox::confined_kinds()) {
    auto filter = sandbox::make_filter(kind, mode);
    if (!filter) return forward(filter);
    filters.emplace(kind, std::move(*filter));
  }
  return filters;
}

/// What libraries open when they are first asked would be opened by a thread that may not.
void open_for_libraries() {
  ::tzset();  // /etc/localtime, for the guest's clock
  // As many as by default, for which malloc() would look into /sys once there are some threads.
  constexpr int kArenasForOne = 8;
  (void)::mallopt(M_ARENA_MAX, kArenasForOne * ::get_nprocs());
}

/// Which threads there are: notify=adaptive looks at them.
constexpr const char* kOwnThreads = "/proc/self/task";

/// Those that open or remove files while a guest runs; a server's vhost-user threads remove
/// sockets.
bool reaches_files(ThreadKind kind) noexcept {
  return kind == ThreadKind::kMain || kind == ThreadKind::kMainAdds ||
         kind == ThreadKind::kVhostUser;
}

}  // namespace

/// Landlock's, for threads that reach files and for those that do not.
struct Sandbox::Rules {
  sandbox::LandlockVersion version;
  HostNeeds needs;
  /// As long as it is open, its entry in /proc stays the one that the rules know.
  UniqueFd own_threads;
  std::optional<sandbox::LandlockRules> of_files;
  std::optional<sandbox::LandlockRules> of_none;

  static Result<std::shared_ptr<Rules>> create(const Setup& setup);
  Result<sandbox::LandlockRules> make(const HostNeeds& wanted) const;
};

Result<sandbox::LandlockRules> Sandbox::Rules::make(const HostNeeds& wanted) const {
  using Signals = sandbox::LandlockRules::Signals;
  auto made = sandbox::LandlockRules::create(
      version, wanted.programs ? Signals::kAllowed : Signals::kRefused);
  if (!made) return made;
  (void)made->allow_listing(kOwnThreads);  // a host may be without /proc
  for (const HostPath& path : wanted.paths) {
    const bool granted = path.use == HostUse::kReadBelow || path.use == HostUse::kWriteBelow ||
                         path.use == HostUse::kFillBelow;
    auto allowed = made->allow(path);
    if (allowed || !granted) continue;  // what is missing is told by whoever opens it
    return fail("--landlock-rules: path=" + allowed.error().message, allowed.error().code);
  }
  return made;
}

Result<std::shared_ptr<Sandbox::Rules>> Sandbox::Rules::create(const Setup& setup) {
  if (setup.landlock == LandlockMode::kOff) return nullptr;
  auto rules = std::make_shared<Rules>();
  rules->version = sandbox::landlock_version();
  if (rules->version.abi == 0 && setup.landlock == LandlockMode::kAuto) {
    log::warn("--landlock: the kernel has none: files are not restricted by path");
    return nullptr;
  }
  rules->needs = setup.needs;
  rules->own_threads = UniqueFd(::open(kOwnThreads, O_PATH | O_CLOEXEC));
  auto of_none = rules->make({});
  if (!of_none) return forward(named_landlock(forward(of_none)));
  auto of_files = rules->make(setup.needs);
  if (!of_files) return forward(of_files);
  rules->of_none = std::move(*of_none);
  rules->of_files = std::move(*of_files);
  return rules;
}

Sandbox::Sandbox() = default;

bool Sandbox::has_landlock() const noexcept { return rules_ != nullptr; }

Result<std::unique_ptr<Sandbox>> Sandbox::create(const Setup& setup) {
  std::unique_ptr<Sandbox> made(new Sandbox());
  if (setup.adds_devices) made->main_ = ThreadKind::kMainAdds;
  const bool filtered = setup.mode != SeccompMode::kOff;
  if (filtered && !kSeccompSupported) {
    return fail("--seccomp: must be off here: a sanitizer's calls are in no filter", ENOTSUP);
  }
  auto rules = Rules::create(setup);
  if (!rules) return forward(rules);
  made->rules_ = *rules;
  if (!filtered && !made->rules_) return made;
  open_for_libraries();
  auto filters = filtered ? make_filters(setup.mode) : Result<Filters>(Filters());
  if (!filters) return forward(named(forward(filters)));
  sandbox::RefusalLog* log = nullptr;
  if (setup.mode == SeccompMode::kKill) {
    if (auto told = sandbox::tell_refusals(setup.before_end); !told) return forward(named(told));
  } else if (setup.mode == SeccompMode::kLog) {
    auto started = sandbox::RefusalLog::start();
    if (!started) return forward(named(forward(started)));
    log = *started;
  }
  set_confinement([mode = setup.mode, log, rules = made->rules_,
                   all = std::move(*filters)](ThreadKind kind) -> Status {
    if (rules != nullptr) {
      const auto& own = reaches_files(kind) ? rules->of_files : rules->of_none;
      if (auto done = own->restrict_this_thread(); !done) return named_landlock(done);
    }
    if (mode == SeccompMode::kOff) return {};
    // Those that it makes could not have a listener of their own.
    if (log != nullptr && kind == ThreadKind::kStarter) return {};
    sandbox::name_this_thread(kind);
    auto installed = sandbox::install_filter(all.at(kind), mode);
    if (!installed) return named(forward(installed));
    if (log != nullptr) log->add(std::move(*installed), kind);
    return {};
  });
  auto starter = ThreadStarter::create();
  if (!starter) {
    set_confinement(nullptr);
    return forward(starter);
  }
  made->starter_ = std::move(*starter);
  return made;
}

Sandbox::~Sandbox() {
  starter_.reset();
  set_confinement(nullptr);
}

Status Sandbox::confine_main() { return confine_this_thread(main_); }

Status Sandbox::confine_main(const HostNeeds& needs) {
  if (!rules_) return confine_main();
  HostNeeds all = rules_->needs;
  all.paths.insert(all.paths.end(), needs.paths.begin(), needs.paths.end());
  all.programs = all.programs || needs.programs;
  auto rules = rules_->make(all);
  if (!rules) return forward(rules);
  rules_->of_files = std::move(*rules);  // read by nobody else: there is no server beside a machine
  return confine_main();
}

}  // namespace bellhop
