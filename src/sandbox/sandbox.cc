#include "sandbox/sandbox.h"

#include <malloc.h>
#include <sys/sysinfo.h>
#include <time.h>

#include <map>
#include <utility>

#include "sandbox/filter.h"
#include "sandbox/refusal.h"
#include "sandbox/refusal_log.h"

namespace bellhop {

namespace {

using Filters = std::map<ThreadKind, sandbox::Filter>;

Status named(const Status& done) {
  if (done) return {};
  return fail("--seccomp: " + done.error().message + " (off does without)", done.error().code);
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

}  // namespace

Result<std::unique_ptr<Sandbox>> Sandbox::create(const Setup& setup) {
  std::unique_ptr<Sandbox> made(new Sandbox());
  if (setup.adds_devices) made->main_ = ThreadKind::kMainAdds;
  if (setup.mode == SeccompMode::kOff) return made;
  if (!kSeccompSupported) {
    return fail("--seccomp: must be off here: a sanitizer's calls are in no filter", ENOTSUP);
  }
  open_for_libraries();
  auto filters = make_filters(setup.mode);
  if (!filters) return forward(named(forward(filters)));
  sandbox::RefusalLog* log = nullptr;
  if (setup.mode == SeccompMode::kKill) {
    if (auto told = sandbox::tell_refusals(setup.before_end); !told) return forward(named(told));
  } else if (setup.mode == SeccompMode::kLog) {
    auto started = sandbox::RefusalLog::start();
    if (!started) return forward(named(forward(started)));
    log = *started;
  }
  set_confinement([mode = setup.mode, log, all = std::move(*filters)](ThreadKind kind) -> Status {
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

}  // namespace bellhop
