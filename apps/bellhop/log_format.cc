#include "apps/bellhop/log_format.h"

#include <fmt/format.h>

#include "base/log.h"

namespace bellhop {

Status begin_log(const std::optional<OptionText>& format) {
  const bool json = format && format->text == "json";
  if (format && !json && format->text != "text") {
    return fail(fmt::format("{}: '{}' is unknown; it must be one of text, json",
                            named_at(format->place, "--log-format"), format->text));
  }
  log::set_format(json ? log::Format::kJson : log::Format::kText);
  return {};
}

}  // namespace bellhop
