#include "net/passt.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <utility>

#include "base/thread.h"
#include "net/passt_child.h"
#include "net/passt_launcher.h"
#include "net/stream_pair.h"

namespace bellhop {

namespace {

constexpr std::uint16_t kPasstMaxMtu = 65520;

class Passt final : public NetBackend {
 public:
  Passt(RunningPasst passt, std::uint16_t mtu)
      : child_(std::move(passt.child)),
        pair_(std::make_unique<StreamPair>(std::move(passt.socket))) {
    limits_.mtu = mtu;
  }

  [[nodiscard]] const NetLimits& limits() const noexcept override { return limits_; }
  [[nodiscard]] const std::string& name() const noexcept override { return name_; }
  [[nodiscard]] NetPair& pair(unsigned /*index*/) noexcept override { return *pair_; }
  Status use_pairs(unsigned count) override {
    return count == 1 ? Status() : Status(fail("passt has one queue"));
  }
  Status set_guest_offloads(Offloads offloads) override {
    return offloads.empty() ? Status() : Status(fail("passt has no offloads"));
  }

 private:
  std::string name_ = "passt";
  NetLimits limits_;
  PasstChild child_;
  std::unique_ptr<StreamPair> pair_;  ///< goes before the child: its sign to end
};

std::optional<std::uint16_t> port_of(std::string_view text) noexcept {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

/// "[address]:port" cut in two; nothing if it has no such form.
std::optional<std::pair<std::string, std::string_view>> cut(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view address = text.substr(0, colon);
  const bool bracketed = address.starts_with('[') && address.ends_with(']');
  if (bracketed) address = address.substr(1, address.size() - 2);
  std::array<unsigned char, sizeof(in6_addr)> binary{};
  std::string known(address);
  const bool good = bracketed
                        ? ::inet_pton(AF_INET6, known.c_str(), binary.data()) == 1
                        : known.empty() || ::inet_pton(AF_INET, known.c_str(), binary.data()) == 1;
  if (!good || known.find('\0') != std::string::npos) return std::nullopt;
  return std::pair(std::move(known), text.substr(colon + 1));
}

}  // namespace

Result<PortForward> parse_port_forward(std::string_view text) {
  const auto wrong = [&] {
    return fail(
        fmt::format("hostfwd={} is wrong; it must be "
                    "tcp:[hostaddr]:hostport-:guestport, such as tcp::2222-:22, or udp:...",
                    text));
  };
  PortForward forward;
  if (text.starts_with("udp:")) {
    forward.protocol = PortForward::Protocol::kUdp;
  } else if (!text.starts_with("tcp:")) {
    return wrong();
  }
  const std::string_view rest = text.substr(4);
  const std::size_t dash = rest.find('-');
  if (dash == std::string_view::npos) return wrong();
  const auto host = cut(rest.substr(0, dash));
  const auto guest = cut(rest.substr(dash + 1));
  if (!host || !guest) return wrong();
  const auto host_port = port_of(host->second);
  const auto guest_port = port_of(guest->second);
  if (!host_port || !guest_port) return wrong();
  if (!guest->first.empty()) {
    return fail(
        fmt::format("hostfwd={}: the guest has one address, which passt gives it: leave {} out",
                    text, guest->first));
  }
  forward.host_address = host->first;
  forward.host_port = *host_port;
  forward.guest_port = *guest_port;
  return forward;
}

Result<std::shared_ptr<NetBackend>> start_passt(const PasstSource& source) {
  if (source.mtu > kPasstMaxMtu) {
    return fail(fmt::format("--net: mtu={} is wrong; with user it must be at most {}", source.mtu,
                            kPasstMaxMtu));
  }
  auto passt = is_confined() ? PasstLauncher::run(source) : run_passt(source);
  if (!passt) return forward(passt);
  return std::make_shared<Passt>(std::move(*passt), source.mtu);
}

}  // namespace bellhop
