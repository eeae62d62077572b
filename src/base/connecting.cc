#include "base/connecting.h"

#include "base/thread.h"

namespace bellhop {

Status run_connecting(std::string_view what, const std::function<void()>& body) {
  if (is_confined()) return run_on_thread(ThreadKind::kConnector, what, body);
  body();
  return {};
}

}  // namespace bellhop
