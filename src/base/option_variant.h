#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "base/property_list.h"

namespace bellhop {

/// What an option can name one of, each a type of its own that reads its keys: a disk's source is a
/// file or nothing, a NIC's a tap or passt. An alternative has
///
///     static constexpr std::string_view kChoice;     how it is asked for: "path=FILE"
///     static constexpr std::string_view kKeys[];     the keys that go with it
///     static constexpr std::string_view kHelp;       lines of --help
///     static unsigned chosen(PropertyReader&);       how often it is asked for
///     static Alternative parse(PropertyReader&);     its keys; the reader keeps what is wrong
///
/// and may have
///
///     Status check_together(std::string_view option, const Alternative&) const;
template <class Variant>
class OptionVariant;

template <class... Alternatives>
class OptionVariant<std::variant<Alternatives...>> {
 public:
  using Variant = std::variant<Alternatives...>;

  /// The one that was asked for. The reader hears of none, of more than one, and of keys that go
  /// with another.
  static Variant parse(PropertyReader& reader) {
    Variant result;
    unsigned chosen = 0;
    std::span<const std::string_view> taken;
    const auto look_at = [&]<class One>(const One*) {
      const unsigned times = One::chosen(reader);
      if (times != 0 && chosen == 0) {
        result = One::parse(reader);
        taken = One::kKeys;
      }
      chosen += times;
    };
    (look_at(static_cast<const Alternatives*>(nullptr)), ...);
    if (chosen != 1) {
      std::string choices;
      ((choices += (choices.empty() ? "" : ", ") + std::string(Alternatives::kChoice)), ...);
      reader.incomplete(
          fmt::format("one of {} is needed{}", choices, chosen == 0 ? "" : ", and no two of them"));
    }
    const auto refuse_keys = [&]<class One>(const One*) {
      for (const std::string_view key : One::kKeys) {
        if (std::ranges::find(taken, key) != taken.end()) continue;
        reader.know(key);
        if (chosen == 1 && reader.has(key)) {
          reader.refuse(key, fmt::format("{} goes with {}", key, One::kChoice));
        }
      }
    };
    (refuse_keys(static_cast<const Alternatives*>(nullptr)), ...);
    return result;
  }

  /// What two may not share: asked of alternatives of the same kind. `option` begins the error.
  static Status check_together(std::string_view option, const Variant& one, const Variant& other) {
    return std::visit(
        [&]<class One>(const One& mine) -> Status {
          [[maybe_unused]] const auto* theirs = std::get_if<One>(&other);
          if constexpr (requires { mine.check_together(option, *theirs); }) {
            if (theirs != nullptr) return mine.check_together(option, *theirs);
          }
          return {};
        },
        one);
  }

  /// Lines of --help: those of each alternative, then `more`.
  static std::string help(std::string_view more) {
    std::string lines;
    ((lines += Alternatives::kHelp), ...);
    lines += more;
    return lines;
  }
};

}  // namespace bellhop
